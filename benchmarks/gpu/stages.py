"""Runs what only a GPU can show, in stages that cannot cost each other their results.

    python benchmarks/gpu/stages.py first --out FOLDER     # is it right? below five minutes
    python benchmarks/gpu/stages.py second --out FOLDER    # how fast is it? a little more
    python benchmarks/gpu/stages.py first --out FOLDER --only smoke tests
    python benchmarks/gpu/stages.py first --out FOLDER --device cpu   # tries all stages, small
    python benchmarks/gpu/stages.py first --list

Runs with the Python and the planet that it is started with; it builds and installs nothing. A stage
that fails never stops the next (`runner.py`); the lists are in `stage_lists.py`. FOLDER gets
summary.txt, stages.log and results.json, and the running stage's NAME.log and NAME.json.

Variables: PLANET_JITTER_SITE and PLANET_CHECKED_SITE name folders with the jitter build and the one
whose waits are bounded, PLANET_FIRST_RUN the compiled first_run program, PLANET_SANITIZER a program
to use for compute-sanitizer, PLANET_AGAIN the results.json whose failed tests are run again.
PLANET_NO_PERSISTENT leaves the persistent kernels out; a stage sets it for those after it.
The exit status is 0 if every stage passed.
"""

from __future__ import annotations

import time

BEGAN = time.monotonic()  # the total limit counts from here

import argparse  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from datetime import datetime, timezone  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from gpu.runner import Runner, report  # noqa: E402
from gpu.stage_lists import LISTS, TOTALS, stages_of  # noqa: E402

TOOLS = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")  # where nvcc's parts may be


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=tuple(LISTS))
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--only", nargs="+", default=[], metavar="STAGE")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--total", type=float, help="seconds for all stages together")
    parser.add_argument("--patience", type=float, default=1.0, help="times every limit")
    parser.add_argument("--list", action="store_true", help="the stages and their limits")
    options = parser.parse_args()
    stages = stages_of(options.which, options.device, options.patience)
    names = [stage.name for stage in stages]
    if unknown := set(options.only) - set(names):
        parser.error(f"--only: expected some of {', '.join(names)}, got {sorted(unknown)}")
    stages = [stage for stage in stages if not options.only or stage.name in options.only]
    if options.list:
        for stage in stages:
            report(f"{stage.name:20} {stage.limit:4.0f} s  {' '.join(stage.command)}")
        report(f"{'all':20} {sum(stage.limit for stage in stages):4.0f} s")
        return 0
    if options.out is None:
        parser.error("--out: expected a folder for the results")
    facts = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "device": options.device,
    }
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *TOOLS])
    total = options.total or TOTALS[options.which] * options.patience
    runner = Runner(
        options.out.resolve(), BEGAN + total, facts, options.device, os.environ | {"PATH": path}
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, runner.stop)
    passed = runner.run(stages)
    report("", *(line[:100] for line in (options.out / "summary.txt").read_text().splitlines()))
    report(f"{time.monotonic() - BEGAN:.0f} s; results in {options.out}")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
