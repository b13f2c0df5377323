"""Plans that are disturbed: in processes of their own, by signals, for as long as it takes."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from random_weights import PRESET_SIZES, Problem, make_problem

from planet.ops import fused
from planet.protocols import Plan

ENDLESS = 1 << 16  # iterations; far more than a test has time for
GUARD = 1800.0  # seconds; ends what hangs, however busy the machine
FOLDER = Path(__file__).parents[1]


def plan(problem: Problem, candidates: int = 200, **more: Any) -> Plan:
    return problem.plan(fused, 4, candidates=candidates, topk=20, **more)


def plan_in_bf16(name: str | None = None) -> str:
    """Plans, with the kernels of a set from now on; returns a digest of the plan's bits."""
    if name is not None:
        fused._C.set_isa(name)
    done = plan(make_problem(PRESET_SIZES["small"], batch=1), precision="bf16")
    parts = (done.mean, done.stddev, done.best_return)
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


def run(body: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts `body` in a process of its own, after the imports that every test here needs."""
    program = "\n".join(
        [
            "import os, signal, sys, threading, time, torch",
            f"sys.path[:0] = {[str(FOLDER), *sys.path]!r}",
            "from ops.planning import *",
            "from ops.tolerances import same_plan",
            "from planet.ops import fused",
            "from random_weights import *",
            "signal.signal(signal.SIGINT, signal.default_int_handler)",
            "say = lambda *what: print(*what, flush=True)",
            body,
        ]
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def answer(
    process: subprocess.Popen[str], told: Callable[[str], object] = lambda line: None
) -> list[str]:
    """Its lines, once it has ended well, each told as it comes.

    A hang ends, that of a forked child, too.
    """

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    assert process.stdout is not None and process.stderr is not None
    guard, lines = threading.Timer(GUARD, end), []
    guard.start()
    try:
        for line in process.stdout:
            told(line.strip())
            lines.append(line.strip())
        errors = process.stderr.read()
        process.wait()
    finally:
        guard.cancel()
        end()
    assert process.returncode == 0, errors
    return lines


class Alarm(Exception):
    """Is raised by the handlers of these tests."""


@contextmanager
def handler(ring: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handles SIGALRM; no alarm is left behind.

    Without the garbage collector, in whose callbacks (hypothesis has some) an error would get lost.
    """
    before = signal.signal(signal.SIGALRM, ring)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
