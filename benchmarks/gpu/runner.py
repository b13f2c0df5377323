"""Runs stages one after the other so that none of them can cost the others their results.

A stage is a command in a process group of its own, with a time limit of its own; the group is ended
as a whole. Whatever it prints goes straight into FOLDER/NAME.log, unbuffered, and what it measures
into FOLDER/NAME.json while it runs. When it has ended, its verdict is appended to summary.txt, its
log to stages.log and its JSON to results.json, and its own two files go: a folder has few files at
any time, and all that was found is in them even if the runner itself is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE = 2.0  # seconds for each of SIGTERM and SIGKILL
LEAST = 3.0  # seconds without which no stage begins
LONGEST_LOG = 1 << 20  # bytes of a stage's log; of a longer one, beginning and end are kept
LINES, COLUMNS, CHARACTERS = 10, 120, 700  # of a stage's end in the runner's own output
POLL = 0.05


@dataclass(frozen=True)
class Switch:
    """Sets a variable for all later stages when a stage fails.

    Attributes:
      variable: of the environment; its value is the stage's verdict.
      status: the exit status that sets it; None for any failure.
    """

    variable: str
    status: int | None = None


@dataclass(frozen=True)
class Stage:
    """Describes a stage.

    Attributes:
      name: of the stage and its files.
      limit: seconds.
      command: its words; `{json}` and `{device}` stand for the file of its results and the device.
      switch: what its failure switches off.
      unless: variables that switch it off.
      requires: variables without which there is nothing to run.
      site: variable that names the folder to import from first.
    """

    name: str
    limit: float
    command: tuple[str, ...]
    switch: Switch | None = None
    unless: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    site: str | None = None


@dataclass
class Outcome:
    """Holds what became of a stage: its verdict, seconds, exit status and last line."""

    verdict: str
    seconds: float = 0.0
    status: int | None = None
    last: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ran and did not pass."""
        return self.verdict != "passed" and not self.verdict.startswith("skipped")


class Runner:
    """Runs stages into a folder.

    Args:
      folder: is made; gets summary.txt, stages.log and results.json.
      ends: on `clock`, when everything has to be over.
      facts: that results.json begins with.
      device: that stages are told.
      environment: of the stages.
      clock: seconds.
    """

    def __init__(
        self,
        folder: Path,
        ends: float,
        facts: Mapping[str, Any],
        device: str,
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.ends, self.device, self.clock = folder, ends, device, clock
        self.environment = dict(environment) | {"PYTHONUNBUFFERED": "1"}
        self.results: dict[str, Any] = {**facts, "stages": {}}
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("summary.txt", "stages.log"):
            (folder / name).write_text("")
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped: str | None = None

    def run(self, stages: Iterable[Stage]) -> bool:
        """Runs all of them; returns whether each passed."""
        outcomes = []
        for stage in stages:
            why = self._why_not(stage)
            outcome = Outcome(f"skipped: {why}") if why else self._run(stage)
            if stage.switch and outcome.failed and stage.switch.status in (None, outcome.status):
                self.environment[stage.switch.variable] = outcome.last or outcome.verdict
            self._keep(stage, outcome)
            outcomes.append(outcome)
        return all(outcome.verdict == "passed" for outcome in outcomes)

    def stop(self, number: int, _: Any = None) -> None:
        """Ends the running stage and skips the others; a handler of signals."""
        self._stopped = signal.Signals(number).name
        self.ends = self.clock()

    def _why_not(self, stage: Stage) -> str | None:
        if self._stopped:
            return f"stopped by {self._stopped}"
        for name in stage.unless:
            if value := self.environment.get(name):
                return f"{name}: {value}"
        for name in (*stage.requires, *([stage.site] if stage.site else [])):
            if not self.environment.get(name):
                return f"no {name}"
        if self.ends - self.clock() - 2 * GRACE < LEAST:
            return "out of time"
        return None

    def _run(self, stage: Stage) -> Outcome:
        limit = min(stage.limit, self.ends - self.clock() - 2 * GRACE)
        report(f"== {stage.name} (at most {limit:.0f} s)")
        log, began = self._path(stage, "log"), self.clock()
        with open(log, "ab", buffering=0) as out:
            out.write(f"== {stage.name}: {' '.join(self.command(stage))}\n".encode())
            try:
                self._running = subprocess.Popen(
                    self.command(stage), stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.STDOUT, env=self._variables(stage), start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                return Outcome(f"FAILED: {error}")
        status = self._wait(log, began + limit)
        self._end_group()
        shorten(log)
        return Outcome(
            self._stopped_or(verdict(status, limit)),
            self.clock() - began, status, last_line(log),
        )  # fmt: skip

    def _stopped_or(self, verdict: str) -> str:
        return f"FAILED: stopped by {self._stopped}" if self._stopped else verdict

    def _wait(self, log: Path, ends: float) -> int | None:
        """Waits for the stage itself, whoever holds its output; None when its time is over."""
        assert self._running is not None
        while self.clock() < min(ends, self.ends):
            try:
                return self._running.wait(POLL)
            except subprocess.TimeoutExpired:
                shorten(log)
        return None

    def _end_group(self) -> None:
        """Ends all that the stage has begun: SIGTERM, then SIGKILL."""
        assert self._running is not None
        group = self._running.pid
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not alive(group):
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, number)
            last = self.clock() + GRACE
            while self.clock() < last and alive(group):
                time.sleep(POLL)
        self._running.poll()
        self._running = None

    def command(self, stage: Stage) -> list[str]:
        """The words of a stage's command."""
        names = {"{json}": str(self._path(stage, "json")), "{device}": self.device}
        return [names.get(word, word) for word in stage.command]

    def _variables(self, stage: Stage) -> dict[str, str]:
        variables = dict(self.environment)
        if stage.site:
            paths = (self.environment[stage.site], variables.get("PYTHONPATH", ""))
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        return variables

    def _path(self, stage: Stage, kind: str) -> Path:
        return self.folder / f"{stage.name}.{kind}"

    def _keep(self, stage: Stage, outcome: Outcome) -> None:
        """Packs what a stage left: first the verdict, then the rest."""
        line = f"{stage.name:20} {outcome.verdict:24} {outcome.seconds:6.1f} s  {outcome.last}"
        line = line.rstrip()
        append(self.folder / "summary.txt", f"{line}\n")
        entry = {"verdict": outcome.verdict, "seconds": round(outcome.seconds, 2),
                 "command": self.command(stage), "results": None}  # fmt: skip
        log, found = self._path(stage, "log"), self._path(stage, "json")
        if found.exists():
            entry["results"] = read_json(found)
        self.results["stages"][stage.name] = entry
        write_json(self.folder / "results.json", self.results)
        found.unlink(missing_ok=True)
        text = log.read_text(errors="replace") if log.exists() else ""
        append(self.folder / "stages.log", text + f"== {line}\n")
        log.unlink(missing_ok=True)
        report(*tail(text), line[:COLUMNS])


def verdict(status: int | None, limit: float) -> str:
    """The verdict of an exit status; None is one that did not come in time."""
    if status is None:
        return f"over {limit:.0f} s"
    if status >= 0:
        return f"FAILED: exit status {status}" if status else "passed"
    try:
        return f"FAILED: {signal.Signals(-status).name}"
    except ValueError:
        return f"FAILED: signal {-status}"


def alive(group: int) -> bool:
    """Tells whether a process group has members that run; what nobody has reaped does not count."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, number = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(number) == group and state not in "ZX":
                return True
    return False


def shorten(path: Path) -> None:
    """Keeps beginning and end of a file that has become too long, also while it is written."""
    if path.stat().st_size <= LONGEST_LOG:
        return
    with open(path, "r+b") as file:
        beginning = file.read(LONGEST_LOG // 4)
        size = file.seek(0, os.SEEK_END)
        file.seek(size - LONGEST_LOG // 4)
        end = file.read(LONGEST_LOG // 4)
        left_out = size - len(beginning) - len(end)
        file.seek(0)
        file.truncate()
        file.write(beginning + f"\n... {left_out} bytes left out ...\n".encode() + end)


def last_line(path: Path) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()[1:]]
    return next((line[:COLUMNS] for line in reversed(lines) if line), "")


def tail(text: str) -> list[str]:
    """The end of a log, so short that the ends of all logs are read."""
    lines = [line.rstrip()[:COLUMNS] for line in text.splitlines()[1:] if line.strip()]
    lines = lines[-LINES:]
    while sum(len(line) + 1 for line in lines) > CHARACTERS:
        lines.pop(0)
    return lines


def report(*lines: str) -> None:
    """Prints at once."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def append(path: Path, text: str) -> None:
    """Adds to a file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or its text where it is none."""
    text = path.read_text(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return {"damaged": text[:100_000]}


def write_json(path: Path, content: Any) -> None:
    """Replaces a file as a whole, so that a kill leaves the former or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    new.replace(path)
