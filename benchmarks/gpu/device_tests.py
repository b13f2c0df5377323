"""Runs the tests that need a GPU, and writes what became of each while they run.

    python benchmarks/gpu/device_tests.py --output tests.json
    python benchmarks/gpu/device_tests.py --again results.json   # those that did not pass there
    python benchmarks/gpu/device_tests.py --alone too_little_memory

Every test has a time limit of its own where pytest-timeout is installed: a hanging kernel ends its
worker, and the others go on. PLANET_TEST_MODELS says for how many models plans are compared with
float64's (four here, a hundred as the tests have it).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances
from gpu.runner import write_json

REPO = Path(__file__).parents[2]
WHERE = (
    "acting", "ops", "storage/test_checkpoint.py", "test_noise.py", "training/test_repeats.py",
    "weights/test_filter_weights.py", "weights/test_rollout_weights.py",
)  # fmt: skip
QUICK = ("ops/cuda/test_errors.py",)
EACH = 30  # seconds of a test
WORKERS = 10
SHOWN = 8  # failures in the last lines
WRITE_EVERY = 0.5  # seconds


class Recorder:
    """Follows a run of pytest.

    Attributes:
      outcomes: of the tests that have ended, and their seconds; of files that cannot be read, too.
      due: tests that were chosen and have not begun.
      begun: tests that have not ended.
    """

    def __init__(self, output: Path | None, facts: dict[str, Any]) -> None:
        self.outcomes: dict[str, tuple[str, float]] = {}
        self.due: set[str] = set()
        self.begun: set[str] = set()
        self.why: dict[str, str] = {}
        self._output, self._facts, self._written = output, facts, 0.0

    def pytest_collectreport(self, report: Any) -> None:
        """Notes a file that cannot be read, as a failure of its own."""
        if report.failed:
            self.pytest_runtest_logreport(report)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes what was chosen, in a single process."""
        self.due |= {item.nodeid for item in session.items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Notes what was chosen, by each worker."""
        self.due |= set(ids) - self.begun - self.outcomes.keys()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Notes a test that begins."""
        self.due.discard(nodeid)
        self.begun.add(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Notes what became of a test; a failure of its fixtures counts as its own."""
        outcome, seconds = self.outcomes.get(report.nodeid, ("passed", 0.0))
        if report.outcome != "passed" and outcome != "failed":
            outcome = report.outcome
        self.outcomes[report.nodeid] = outcome, round(seconds + getattr(report, "duration", 0.0), 3)
        self.begun.discard(report.nodeid)
        if report.outcome == "failed":
            lines = str(report.longrepr).strip().splitlines()
            self.why[report.nodeid] = "\n".join(lines[-12:])
        if time.monotonic() - self._written > WRITE_EVERY:
            self.write()

    def named(self, outcome: str) -> list[str]:
        """The tests with an outcome, the slowest first."""
        found = [
            (seconds, name) for name, (is_, seconds) in self.outcomes.items() if is_ == outcome
        ]
        return [name for _, name in sorted(found, reverse=True)]

    def write(self) -> None:
        """Writes all that is known."""
        self._written = time.monotonic()
        if self._output:
            left = {"begun": sorted(self.begun), "due": sorted(self.due)}
            figures = {"outcomes": self.outcomes, **left, "why": self.why}
            write_json(self._output, self._facts | figures)


def not_passed(path: Path) -> list[str]:
    """The tests that failed, did not end or did not begin in stages' results; else all."""
    tests = json.loads(path.read_text())["stages"].get("tests", {}).get("results") or {}
    if not tests.get("outcomes"):
        return list(WHERE)
    failed = [name for name, (outcome, _) in tests["outcomes"].items() if outcome == "failed"]
    return [f"{REPO}/{name}" for name in (*failed, *tests["begun"], *tests["due"])]


def arguments(options: argparse.Namespace, chosen: list[str]) -> list[str]:
    """Words for pytest."""
    what = "not emulated" + (" and cuda" if options.device == "cuda" else "")
    if options.alone:
        what = f"{what} and {options.alone}"
    if options.deselect:
        what = f"{what} and not {options.deselect}"
    words = ["-v", "-rfE", "--tb=short", "-p", "no:cacheprovider", "-k", what]
    words += ["--continue-on-collection-errors"]
    if importlib.util.find_spec("xdist") and not options.alone:
        words += ["-n", str(options.workers)]
    if importlib.util.find_spec("pytest_timeout"):
        words += [f"--timeout={EACH}", "--timeout-method=thread"]  # a kernel ignores signals
    return [*words, *chosen]


def main() -> int:
    """Command line; exit status 1 unless tests ran and all passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--again", metavar="FILE", help="results of stages")
    parser.add_argument("--alone", metavar="WORD", help="the tests with this word, in one process")
    parser.add_argument("--deselect", metavar="WORD", help="not the tests with this word")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--quick", action="store_true", help="a few tests")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    chosen = list(QUICK if options.quick or options.alone else WHERE)
    if options.again:
        chosen = not_passed(Path(os.environ.get(options.again, options.again)))
        if not chosen:
            print("nothing to run again: all tests passed there")
            return 0
    if options.quick:
        options.workers = 0
    os.environ.setdefault("PLANET_TEST_MODELS", "4")
    os.environ["OMP_NUM_THREADS"] = "2"
    os.chdir(REPO / "tests")  # so that the installed package is tested
    recorder = Recorder(options.output, circumstances())
    status = pytest.main(arguments(options, chosen), plugins=[recorder])
    recorder.write()
    passed, failed = recorder.named("passed"), recorder.named("failed")
    skipped = recorder.named("skipped")
    print(
        "slowest:", *(f"{recorder.outcomes[name][1]:.1f} s {name}" for name in passed[:3]), sep="\n"
    )
    print(*(f"FAILED {name}" for name in failed[:SHOWN]), sep="\n")
    print(f"{len(failed)} failed, {len(passed)} passed, {len(skipped)} skipped")
    return int(status != 0 or not (passed or options.device == "cpu"))


if __name__ == "__main__":
    sys.exit(main())
