"""Signals during plans of the compiled core: Ctrl-C and handlers of the caller's own."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import pytest
from ops.fused_support import needs_extension
from ops.planning import ENDLESS, Alarm, answer, handler, plan, run
from ops.step_calls import equal, make_call
from ops.tolerances import same_plan
from random_weights import TINY, make_problem

pytestmark = needs_extension


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


def test_what_a_handler_raises_comes_out_of_a_control_step() -> None:
    call = make_call(batch=1, candidates=[2000], spans=50)
    call.run()
    expected = call.outputs()
    with handler(raise_alarm), pytest.raises(Alarm):
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        call.run(iterations=ENDLESS)
    call.run()
    assert equal(call.outputs(), expected)


def test_ctrl_c_ends_a_control_step_and_the_next_one_is_whole() -> None:
    process = run("""
from ops.step_calls import equal, make_call
call = make_call(batch=1, candidates=[4000])
call.run()
expected = call.outputs()
try:
    say("stepping")
    while True: call.run(iterations=ENDLESS)
except KeyboardInterrupt:
    say("interrupted")
call.run()
say(equal(call.outputs(), expected))
""")
    lines = answer(process, lambda line: line == "stepping" and process.send_signal(signal.SIGINT))
    assert lines == ["stepping", "interrupted", "True"]


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
from planet.ops.kernels import KERNELS
model = KERNELS["cpu"].model(problem.weights, "fp32")
bounds = torch.full((1, 2), -1.0), torch.full((1, 2), 1.0)
start = problem.latent.belief, problem.latent.state, mean, stddev, torch.tensor([1])
settings = [200], 20, ENDLESS, 0, 0, 1e-6, True, 1.0, None, 0, None, None, 0, 0.0, None, 0

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
