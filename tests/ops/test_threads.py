"""The compiled core among threads, forks and signals: the GIL, torch's threads, Ctrl-C."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from ops.fused_support import needs_extension, threads
from ops.tolerances import same_plan
from random_weights import PRESET_SIZES, TINY, Problem, make_problem

from planet.ops import fused
from planet.protocols import Plan

pytestmark = needs_extension
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
INT8 = bool(fused._C and fused._C.has_int8())
ENDLESS = 1 << 16  # iterations; far more than a test has time for
GUARD = 1800.0  # seconds; ends what hangs, however busy the machine
FOLDER = Path(__file__).parents[1]


def plan(problem: Problem, candidates: int = 200, **more: Any) -> Plan:
    return problem.plan(fused, 4, candidates=candidates, topk=20, **more)


def run(body: str, *arguments: str) -> subprocess.Popen[str]:
    """Starts `body` in a process of its own, after the imports that every test here needs."""
    program = "\n".join(
        [
            "import os, signal, sys, threading, time, torch",
            f"sys.path[:0] = {[str(FOLDER), *sys.path]!r}",
            "from ops.test_threads import *",
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


# ---- Python's threads ----------------------------------------------------------------------------


class Alarm(Exception):
    """Raised by the handlers of these tests."""


@contextmanager
def handler(ring: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """A handler of SIGALRM; no alarm is left behind.

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


def test_other_python_threads_run_during_a_plan() -> None:
    """Another thread ends the plan: it sends signals until three have come in the same call."""
    problem, main = make_problem(PRESET_SIZES["small"], batch=1), threading.get_ident()
    places: list[tuple[int, int]] = []
    rung, done = threading.Event(), threading.Event()

    def ring(number: int, frame: FrameType | None) -> None:
        assert frame is not None
        # Three come at one place elsewhere, too: as this thread waits until the other one runs.
        inside = frame.f_code.co_filename == torch._ops.__file__
        places.append((id(frame), frame.f_lasti))
        if inside and places[-3:] == [places[-1]] * 3:
            done.set()
        rung.set()
        if inside and done.is_set():
            raise Alarm

    def send() -> None:
        while not done.is_set():
            rung.clear()
            signal.pthread_kill(main, signal.SIGALRM)
            rung.wait()

    other = threading.Thread(target=send)
    with handler(ring):
        other.start()
        try:
            with pytest.raises(Alarm):  # where the plan holds the GIL, it comes to its end
                plan(problem, iterations=1000)
        finally:
            done.set()
            rung.set()
            other.join()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "precision",
    ["fp32", pytest.param("int8", marks=pytest.mark.skipif(not INT8, reason="no int8 kernels"))],
)
def test_first_plans_of_a_snapshot_at_once_have_the_bits_of_one_alone(
    count: int, precision: str
) -> None:
    """All threads find the snapshot unpacked."""
    with threads(1):
        alone = plan(make_problem(TINY, batch=2), precision=precision)
    problem, together = make_problem(TINY, batch=2), 6
    barrier = threading.Barrier(together)

    def first_plan(_: int) -> Plan:
        barrier.wait(GUARD)
        return plan(problem, precision=precision)

    with threads(count), ThreadPoolExecutor(together) as pool:
        plans = list(pool.map(first_plan, range(together)))
    assert all(same_plan(each, alone) for each in plans)


@pytest.mark.skipif(not INT8, reason="no int8 kernels")
def test_one_snapshot_serves_both_precisions_at_once() -> None:
    problem = make_problem(PRESET_SIZES["small"], batch=1)
    alone = {name: plan(problem, precision=name) for name in ("fp32", "int8")}
    assert not same_plan(alone["fp32"], alone["int8"])
    names = ["fp32", "int8"] * 8
    with threads(2), ThreadPoolExecutor(4) as pool:
        plans = pool.map(lambda name: plan(problem, precision=name), names)
        assert all(same_plan(each, alone[name]) for name, each in zip(names, plans, strict=True))


# ---- torch's threads -----------------------------------------------------------------------------


@linux
def test_a_plan_has_as_many_threads_as_torch() -> None:
    body = """
before = len(os.listdir("/proc/self/task"))
for count in (1, 3):
    torch.set_num_threads(count)
    plan(make_problem(TINY, batch=1), candidates=2000)
    say(len(os.listdir("/proc/self/task")) - before)
"""
    assert answer(run(body)) == ["0", "2"]


# ---- Forks ---------------------------------------------------------------------------------------

FORK = """
def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(3)
    os.waitpid(child, 0)
"""


@linux
def test_a_forked_child_plans_alone_with_equal_bits() -> None:
    body = f"""{FORK}
torch.set_num_threads(2)
problem = make_problem(PRESET_SIZES["small"], batch=1)
expected = plan(problem)  # torch's threads are there before the fork
def work():
    same = same_plan(plan(problem), expected)
    new = same_plan(plan(make_problem(PRESET_SIZES["small"], batch=1)), expected)  # packs there
    say(same, new, len(os.listdir("/proc/self/task")))
forked(work)
say(same_plan(plan(problem), expected))
"""
    assert answer(run(body)) == ["True True 1", "True"]


@linux
def test_a_fork_during_plans_of_other_threads_does_not_hang() -> None:
    body = f"""{FORK}
torch.set_num_threads(2)
problem = make_problem(TINY, batch=1)
expected = plan(problem)
done = threading.Event()
def keep_planning():
    while not done.is_set():
        assert same_plan(plan(problem), expected)
workers = [threading.Thread(target=keep_planning) for _ in range(2)]
for worker in workers: worker.start()
for _ in range(5):
    forked(lambda: say(same_plan(plan(problem), expected)))
done.set()
for worker in workers: worker.join()
"""
    assert answer(run(body)) == ["True"] * 5


# ---- Signals -------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_plan_and_the_next_plan_is_whole() -> None:
    """The whole plan takes hours; the signal is repeated if it comes before the plan begins."""
    process = run("""
problem = make_problem(PRESET_SIZES["paper"], batch=1)
expected = plan(problem)
def within(trace):
    while trace.tb_next: trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename
place = ""
while not place.endswith(("kernels.py", "_ops.py")):  # those that call the core
    try:
        say("planning")
        plan(problem, candidates=4000, iterations=ENDLESS)
    except KeyboardInterrupt as error:
        place = within(error.__traceback__)
say("interrupted")
say(same_plan(plan(problem), expected))
""")
    lines = answer(process, lambda line: line == "planning" and process.send_signal(signal.SIGINT))
    assert lines[-2:] == ["interrupted", "True"]


def test_ctrl_c_leaves_a_plan_of_another_thread_alone() -> None:
    process = run("""
problem = make_problem(PRESET_SIZES["small"], batch=1)
expected = plan(problem, iterations=400)
got = []
worker = threading.Thread(target=lambda: got.append(plan(problem, iterations=400)))
worker.start()
try:
    say("planning")
    while True: time.sleep(0.01)
except KeyboardInterrupt:
    say("interrupted")
worker.join()
say(same_plan(got[0], expected))
""")
    lines = answer(process, lambda line: line == "planning" and process.send_signal(signal.SIGINT))
    assert lines == ["planning", "interrupted", "True"]


def raise_alarm(number: int, frame: FrameType | None) -> None:
    raise Alarm


def test_what_a_handler_raises_comes_out_of_the_plan() -> None:
    problem = make_problem(TINY, batch=1)
    expected = plan(problem)
    with handler(raise_alarm), pytest.raises(Alarm):
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        plan(problem, iterations=ENDLESS)
    assert same_plan(plan(problem), expected)


def test_a_handler_that_returns_does_not_end_the_plan() -> None:
    problem, rung = make_problem(TINY, batch=1), threading.Event()
    undisturbed = plan(problem, iterations=2000)
    with handler(lambda number, frame: rung.set()):
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        disturbed = plan(problem, iterations=2000)
    assert rung.is_set()
    assert same_plan(disturbed, undisturbed)


def test_a_signal_s_error_reaches_the_main_thread_alone() -> None:
    """Other threads end plans all the time, also between the main thread's stop and its raise."""
    problem = make_problem(TINY, batch=1)
    expected = plan(problem)
    done = threading.Event()

    def keep_planning(_: int) -> bool:
        fine = True
        while not done.is_set():
            fine = fine and same_plan(plan(problem), expected)
        return fine

    with handler(raise_alarm), ThreadPoolExecutor(8) as pool:
        others = pool.map(keep_planning, range(8))
        try:
            for _ in range(25):
                with pytest.raises(Alarm):
                    signal.setitimer(signal.ITIMER_REAL, 0.005)
                    plan(problem, iterations=ENDLESS)
        finally:
            done.set()
        assert list(others) == [True] * 8


def test_a_signal_s_error_leaves_an_op_that_is_called_directly_as_it_leaves_python() -> None:
    """Whole, at the call, and never again: nothing of it is kept in the extension."""
    process = run("""
problem = make_problem(TINY, batch=1)
expected = plan(problem)
mean, stddev = problem.distribution(4)
model = fused._KERNELS["cpu"].model(problem.weights, "fp32")
bounds = torch.full((1, 2), -1.0), torch.full((1, 2), 1.0)
start = problem.latent.belief, problem.latent.state, mean, stddev, torch.tensor([1])
settings = 200, 20, ENDLESS, 0, 0, 1e-6, True, 1.0, None, 0

def interrupted_plan():
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    torch.ops.planet.cem_plan(*model, *start, *bounds, *settings)
    say("went on")

def ring(number, frame):
    raise KeyboardInterrupt("rung by", number)

signal.signal(signal.SIGALRM, ring)
for _ in range(3):
    try:
        interrupted_plan()
    except KeyboardInterrupt as error:
        names = []
        trace = error.__traceback__
        while trace:
            names.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        say(error.args, "interrupted_plan" in names, "ring" in names)
    say(same_plan(plan(problem), expected))
interrupted_plan()
""")
    output, errors = process.communicate(timeout=300)
    assert output.splitlines() == ["('rung by', 14) True True", "True"] * 3
    assert errors.rstrip().endswith("KeyboardInterrupt: ('rung by', 14)")
    assert process.returncode == -signal.SIGINT  # as Python itself ends, not by a fault
