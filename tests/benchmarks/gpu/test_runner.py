"""The runner of stages: whatever a stage does, its results and the next stage are there."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import processes
import pytest
from gpu import runner
from gpu.runner import Runner, Stage, Switch

LONG = 1800.0  # seconds; for stages that end by themselves


def shell(name: str, command: str, limit: float = LONG, **more: Any) -> Stage:
    return Stage(name, limit, ("sh", "-c", command), **more)


def program(name: str, code: str, limit: float = LONG, **more: Any) -> Stage:
    return Stage(name, limit, (sys.executable, "-c", code, "{json}"), **more)


class Folder:
    """Runs stages into a folder and reads what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *stages: Stage, **variables: str) -> bool:
        return Runner(self.path, math.inf, {"date": "today"}, "cuda", os.environ | variables).run(
            stages
        )

    @property
    def lines(self) -> list[str]:
        return (self.path / "summary.txt").read_text().splitlines()

    @property
    def log(self) -> str:
        return (self.path / "stages.log").read_text()

    @property
    def results(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.path / "results.json").read_text())
        return content


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "out")


NEXT = shell("next", "echo here")


def passed(line: str) -> bool:
    return line.split()[:2] == ["next", "passed"] and line.endswith("  here")


def test_a_stage_leaves_verdict_log_and_results(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    write = "import json, sys; json.dump([1, 2], open(sys.argv[1], 'w')); print('two figures')"
    assert folder.run(program("figures", write), NEXT)
    assert folder.lines[0].split()[:2] == ["figures", "passed"]
    assert folder.lines[0].endswith(" s  two figures")
    assert passed(folder.lines[1])
    assert folder.results["date"] == "today"
    stage = folder.results["stages"]["figures"]
    assert (stage["verdict"], stage["results"]) == ("passed", [1, 2])
    assert "two figures" in folder.log
    assert {path.name for path in folder.path.iterdir()} == {
        "summary.txt", "stages.log", "results.json",
    }  # fmt: skip
    assert "two figures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "verdict"),
    [("echo broken; exit 3", "FAILED: exit status 3"), ("kill -SEGV $$", "FAILED: SIGSEGV"),
     ("kill -40 $$", "FAILED: signal 40")],
)  # fmt: skip
def test_a_crash_is_named_and_the_next_stage_runs(
    folder: Folder, command: str, verdict: str
) -> None:
    assert not folder.run(shell("crash", command), NEXT)
    assert verdict in folder.lines[0]
    assert passed(folder.lines[1])


def test_a_command_that_is_not_there_is_a_failure(folder: Folder) -> None:
    assert not folder.run(Stage("absent", LONG, ("/no/such/program",)), NEXT)
    assert "FAILED: [Errno 2] No such file" in folder.lines[0]
    assert passed(folder.lines[1])


# It and what it has begun ignore SIGTERM; only they know that they have begun.
HANGS = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sh", "-c", "trap '' TERM; echo child; while :; do read x; done"],
                         stdin=subprocess.PIPE)
open(sys.argv[1], "w").write('{"half":')
print("waits")
signal.pause()
"""


def test_what_ignores_sigterm_is_ended_with_all_that_it_began(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE", 0.2)
    groups: list[int] = []
    ends = Runner._end_group

    def end(self: Runner) -> None:
        assert self._running is not None
        groups.append(self._running.pid)
        ends(self)

    monkeypatch.setattr(Runner, "_end_group", end)
    assert not folder.run(program("hangs", HANGS, limit=1.0), NEXT)
    assert folder.lines[0].split()[:4] == ["hangs", "over", "1", "s"]
    assert passed(folder.lines[1])
    assert folder.results["stages"]["hangs"]["verdict"] == "over 1 s"
    assert not runner.alive(groups[0])


def test_results_of_a_stage_that_was_ended_are_kept(folder: Folder) -> None:
    whole = "import signal, sys; open(sys.argv[1], 'w').write('{\"a\": 1}'); signal.pause()"
    torn = "import sys; open(sys.argv[1], 'w').write('{\"a\": 1')"
    folder.run(program("ended", whole, limit=3.0), program("torn", torn), NEXT)
    stages = folder.results["stages"]
    assert stages["torn"]["results"] == {"damaged": '{"a": 1'}
    assert stages["ended"]["verdict"] == "over 3 s"
    assert passed(folder.lines[2])


def test_a_grandchild_that_holds_the_output_is_not_waited_for(folder: Folder) -> None:
    keeps = "sh -c 'while :; do read x; done' < /dev/zero & echo done"
    assert folder.run(shell("leaves", keeps), NEXT)
    assert folder.lines[0].endswith("  done")
    assert passed(folder.lines[1])


def test_a_flood_of_output_is_cut_and_its_ends_are_kept(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LONGEST_LOG", 40_000)
    flood = "print('first'); [print('x' * 999) for _ in range(3000)]; print('last')"
    assert folder.run(program("flood", flood), NEXT)
    assert "\nfirst\n" in folder.log
    assert " bytes left out ...\n" in folder.log
    assert folder.lines[0].endswith("  last")
    assert len(folder.log) < 60_000


def test_the_output_of_all_stages_fits_the_end_that_is_shown(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    talks = "[print(str(i) + ' word' * 60) for i in range(50)]"
    folder.run(*(program(f"stage{i}", talks) for i in range(11)))
    out = capsys.readouterr().out
    assert len(out) < 12_000 - 11 * 100  # the summary comes last
    assert out.count("\n") > 40


def test_a_failure_switches_off_what_builds_on_it(folder: Folder) -> None:
    off = Switch("NO_THING"), Switch("NO_GPU", status=3)
    stages = (
        shell("thing", "echo why; false", switch=off[0]),
        shell("gpu", "echo fine; exit 1", switch=off[1]),
        shell("uses", "echo $NO_THING", unless=("NO_THING",)),
        shell("told", "echo told: $NO_THING"),
        shell("on_gpu", "true", unless=("NO_GPU",)),
    )
    folder.run(*stages)
    verdicts = {name: stage["verdict"] for name, stage in folder.results["stages"].items()}
    assert verdicts["uses"] == "skipped: NO_THING: why"
    assert verdicts["on_gpu"] == "passed"  # another exit status
    assert folder.lines[3].endswith("  told: why")


def test_what_is_missing_is_named_and_a_site_comes_first(folder: Folder) -> None:
    there = program("there", "import os; print(os.environ['PYTHONPATH'])", site="SITE")
    nowhere = shell("nowhere", "true", site="OTHER_SITE")
    needs = shell("needs", "true", requires=("FILE",))
    folder.run(there, nowhere, needs, SITE="/one", PYTHONPATH="/two")
    assert folder.lines[0].endswith("  /one:/two")
    assert "skipped: no OTHER_SITE" in folder.lines[1]
    assert "skipped: no FILE" in folder.lines[2]


def test_the_total_limit_ends_the_running_stage_and_skips_the_rest(folder: Folder) -> None:
    clock = itertools.count().__next__  # a second passes whenever it is read
    waits = shell("waits", "while :; do :; done")
    assert not Runner(folder.path, 20.0, {}, "cuda", os.environ, clock).run([waits, NEXT])
    assert folder.lines[0].split()[:2] == ["waits", "over"]
    assert "skipped: out of time" in folder.lines[1]


def test_a_signal_ends_the_running_stage_and_packs_what_is_there(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from gpu.runner import Runner, Stage
runner = Runner(__import__("pathlib").Path(sys.argv[1]), 1e12, {}, "cuda", os.environ)
signal.signal(signal.SIGTERM, runner.stop)
runner.run([Stage("asks", 1800, ("sh", "-c", "echo begun; kill -TERM $PPID; while :; do :; done")),
            Stage("next", 1800, ("true",))])
"""
    out = tmp_path / "out"
    processes.python("-c", code, out, env=processes.variables())
    lines = (out / "summary.txt").read_text().splitlines()
    assert "FAILED: stopped by SIGTERM" in lines[0]
    assert lines[0].endswith("  begun")
    assert "skipped: stopped by SIGTERM" in lines[1]
    assert (
        signal.SIGTERM.name
        in json.loads((out / "results.json").read_text())["stages"]["asks"]["verdict"]
    )
