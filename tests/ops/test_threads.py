"""Tests the compiled core among threads and forks: the GIL, threads of Python and of torch."""

from __future__ import annotations

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest
import torch
from ops.fused_support import needs_extension, threads
from ops.planning import GUARD, Alarm, answer, handler, plan, run
from ops.step_calls import equal, make_call
from ops.tolerances import same_plan
from random_filters import make_filter_problem
from random_weights import PRESET_SIZES, TINY, make_problem

from planet.latent import LatentState
from planet.ops import fused
from planet.protocols import Plan

pytestmark = needs_extension
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
INT8 = bool(fused._C and "int8" in fused._C.precisions())


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


@pytest.mark.parametrize("count", [1, 2])
def test_first_filter_steps_of_a_snapshot_at_once_have_the_bits_of_one_alone(count: int) -> None:
    with threads(1):
        alone = make_filter_problem(batch=9).step(fused)
    problem, together = make_filter_problem(batch=9), 6
    barrier = threading.Barrier(together)

    def first_step(_: int) -> LatentState:
        barrier.wait(GUARD)
        return problem.step(fused)

    with threads(count), ThreadPoolExecutor(together) as pool:
        steps = list(pool.map(first_step, range(together)))
    assert all(step.state.equal(alone.state) for step in steps)


def test_control_steps_of_python_threads_run_at_the_same_time() -> None:
    calls = [make_call(batch=3, seed=seed, spans=30) for seed in range(4)]
    for call in calls:
        call.run()
    alone = [call.outputs() for call in calls]
    with threads(2), ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            list(pool.map(lambda call: call.run(), calls))
            assert all(equal(call.outputs(), one) for call, one in zip(calls, alone, strict=True))


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
def test_a_forked_child_steps_alone_with_equal_bits() -> None:
    body = f"""{FORK}
from ops.step_calls import equal, make_call
torch.set_num_threads(2)
call, new = make_call(batch=5), make_call(batch=5)
call.run()
expected = call.outputs()
for weights in (new.weights, new.weights.rollout):
    weights._cache.clear()  # packs there
def work():
    call.run()
    new.run()
    same = [equal(each.outputs(), expected) for each in (call, new)]
    say(*same, len(os.listdir("/proc/self/task")))
forked(work)
call.run()
say(equal(call.outputs(), expected))
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
