"""Runs a toy, which must leave the same as an undisturbed one, or a refusal by name.

Every case runs in a forked child of a process that has imported everything, through the command
line's own entry, so a case takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from durability.crash_points import KILLED, CrashPoints
from durability.damages import damage
from toy_runs import timeless

from planet.cli import main
from planet.storage.checkpoint import load_checkpoint
from planet.training.metrics import read_metrics

RUN = shlex.split("""
    --preset small --task toy-reach --environment.image-size 8 --environment.render-size 8
    --environment.control-steps 5 --environment.action-repeat 2 --model.state-size 3
    --model.belief-size 5 --model.hidden-size 7 --model.encoder-channels 4 --model.decoder-hidden 9
    --model.reward-hidden 8 --planner.horizon 2 --planner.candidates 6 --planner.iterations 1
    --planner.topk 2 --imagination.backend reference --train.backend reference
    --train.batch-size 2 --train.chunk-length 3
    --train.initial-updates 3 --train.updates-per-episode 2 --train.evaluation-interval 2
    --train.evaluation-episodes 1 --train.seed-episodes 2 --train.episodes 5
    --train.learning-rate 0.001
""")


_PATIENCE = 600  # seconds until a case that hangs is ended, and lost


@dataclass(frozen=True)
class Ended:
    """Holds a command's exit status, negative for a signal, and what it said on stderr."""

    status: int
    errors: str


def train(directory: Path, *more: str) -> list[str]:
    return ["train", "--directory", str(directory), *RUN, *more]


def start(arguments: list[str], errors: Path, before: Callable[[], None] | None = None) -> int:
    """Forks a child that runs a command; returns its process id."""
    process = os.fork()
    if process:
        return process
    status = 99
    try:
        for number, path in ((1, os.devnull), (2, str(errors))):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        signal.alarm(_PATIENCE)
        if before is not None:
            before()
        status = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def finish(process: int, errors: Path) -> Ended:
    """Waits for a child."""
    _, status = os.waitpid(process, 0)
    text = errors.read_text(errors="replace") if errors.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), text)


def run(directory: Path, *more: str, before: Callable[[], None] | None = None) -> Ended:
    """Trains in a child until it ends."""
    errors = directory.with_name(directory.name + ".errors")
    return finish(start(train(directory, *more), errors, before), errors)


def difference(directory: Path, whole: Path) -> str:
    """Says in what a run differs from another one; empty: in nothing that matters.

    Times differ, and so does what others put into the directory.
    """
    if timeless(directory) != timeless(whole):
        return "metrics"
    for path in sorted((whole / "episodes").iterdir()):
        other = directory / "episodes" / path.name
        if not other.exists() or other.read_bytes() != path.read_bytes():
            return f"episodes: {path.name}"
    if (directory / "config.json").read_bytes() != (whole / "config.json").read_bytes():
        return "config.json"
    left, right = (_state(folder) for folder in (directory, whole))
    if not same(left, right):
        return "checkpoint"
    if curves(directory) != expected_curves(directory):
        return "TensorBoard"
    left_over = [path.name for path in directory.rglob(".planet-*.tmp")]
    return f"temporary files: {left_over}" if left_over else ""


def _state(directory: Path) -> dict[str, Any]:
    """Reads the checkpoint without the checksum of the metrics, which have times in them."""
    state = load_checkpoint(directory / "checkpoint.pt")
    state.pop("metrics_checksum", None)
    return state


def same(left: Any, right: Any) -> bool:
    """Tells whether two checkpoints are equal, bit for bit."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def expected_curves(directory: Path) -> set[tuple[str, int, float]]:
    """Returns the points that TensorBoard must show."""
    points = set()
    for line in read_metrics(directory):
        for name, value in line.items():
            if "/" in name and value == value:
                axis = "updates" if name.startswith("train/") else "environment_steps"
                points.add((name, int(line[axis]), float(torch.tensor(value).float())))
    return points


def curves(directory: Path) -> set[tuple[str, int, float]]:
    """Returns the points that TensorBoard shows; those it drops at a restart are none."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    points: set[tuple[str, int, float]] = set()
    for path in sorted((directory / "tensorboard").glob("*tfevents*")):
        if not path.is_file():
            continue
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            if event.HasField("session_log"):
                points.clear()
            points |= {(v.tag, event.step, v.simple_value) for v in event.summary.value}
    return points


def refusal(ended: Ended, directory: Path) -> str:
    """Says what is wrong with a refusal; empty: it is one sentence that names a file of the run."""
    if ended.status != 1:
        return f"exit status {ended.status}"
    if "Traceback" in ended.errors:
        return "a traceback"
    said = [line for line in ended.errors.splitlines() if line.startswith("planet train: ")]
    if len(said) != 1:
        return f"{len(said)} sentences"
    return "" if re.search(re.escape(str(directory)), said[0]) else "no file is named"


def outcome(directory: Path, whole: Path, ended: Ended) -> tuple[str, str]:
    """Returns "equal", "refused" or "lost", and what to show of it."""
    said = ended.errors.strip().splitlines()[-1:] or [""]
    if ended.status == 0:
        try:
            differs = difference(directory, whole)
        except Exception as error:  # what cannot be read is lost
            differs = f"{type(error).__name__}: {error}"
        return ("lost", f"differs in {differs}") if differs else ("equal", "")
    wrong = refusal(ended, directory)
    return ("lost", f"{wrong}: {said[0]}") if wrong else ("refused", said[0])


class Workplace:
    """Holds three runs: an undisturbed one, one of another seed, one that was killed halfway.

    Attributes:
      points: how many operations on files the undisturbed run has.
      seconds: that it takes.
    """

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.folder = Path(tempfile.mkdtemp(prefix="planet-durability-"))
        self.whole, self.other, self.half = (
            self.folder / name for name in ("whole", "other", "half")
        )
        with contextlib.redirect_stdout(io.StringIO()):  # what is imported late is imported now
            assert main(train(self.other, "--train.seed", "1")) == 0
        points = CrashPoints()
        began = time.perf_counter()
        self._must(run(self.whole, before=points.install), 0)
        self.seconds, self.points = time.perf_counter() - began, points.passed
        # Two of three planned episodes, and lines that no checkpoint counts.
        self._must(run(self.half, before=CrashPoints(self.points * 3 // 4).install), KILLED)

    def _must(self, ended: Ended, status: int) -> None:
        assert ended.status == status, ended

    def fresh(self, source: Path | None = None) -> Path:
        """An empty place for a run, or a copy of one."""
        directory = self.folder / "case"
        shutil.rmtree(directory, ignore_errors=True)
        if source is not None:
            shutil.copytree(source, directory, symlinks=True)
        return directory

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def killed_at_random(place: Workplace, generator: random.Random) -> tuple[str, str]:
    """Kills a run at one to three random moments, then lets it end."""
    directory = place.fresh()
    errors = directory.with_name("errors")
    for _ in range(generator.randint(1, 3)):
        process = start(train(directory), errors)
        time.sleep(generator.uniform(0.0, place.seconds))
        os.kill(process, signal.SIGKILL)
        finish(process, errors)
    return outcome(directory, place.whole, run(directory))


def killed_at_point(place: Workplace, point: int, torn: bool) -> tuple[str, str]:
    """Kills a run at its n-th operation on a file, the next one likewise, then lets it end."""
    directory = place.fresh()
    ended = run(directory, before=CrashPoints(point, torn).install)
    if ended.status != KILLED:
        return "lost", f"point {point} was not reached: {ended}"
    if torn:  # also a kill while the run is taken up again
        run(directory, before=CrashPoints(1 + point % 20).install)
    return outcome(directory, place.whole, run(directory))


def damaged(place: Workplace, generator: random.Random) -> tuple[str, str, str]:
    """Damages a file of a killed run, then lets it go on; also returns what was done."""
    directory = place.fresh(place.half)
    what = damage(directory, place.other, generator)
    return what, *outcome(directory, place.whole, run(directory))
