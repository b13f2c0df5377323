"""Times control steps of one policy, or of several by turns in the same process.

Several policies see the same frames and take turns at every step, each once first, so that a busy
machine and the caches hit all of them alike.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.acting.agent import Agent
from planet.acting.timeline import Span, Timeline
from planet.diagnostics.machine import machine_facts
from planet.errors.scalars import check_int, check_positive
from planet.errors.short_repr import short_repr
from planet.profiling.conditions import Conditions, State, governors
from planet.profiling.pace import Pace
from planet.profiling.result import Comparison, Profile
from planet.profiling.session import Session, timed
from planet.profiling.stages import Times, by_iteration, by_stage, stages_of
from planet.protocols import Observation, Policy

WARMUP = 5
"""Steps that are not counted; as many as are timed where those are fewer."""


def measure_session(
    session: Session, steps: int = 100, rate_hz: float | None = None, paced: bool = False
) -> Comparison:
    """Times `act` of every policy from end to end, and the stages inside it.

    All policies filter the same frames and follow the actions of the first one, so that they plan
    from the same latents. Of a policy that does not plan, `act` is the only stage.

    Args:
      session: what is timed.
      steps: how many control steps of each policy count.
      rate_hz: control steps per second that are asked for.
      paced: let every step start with a period of the control rate. In a run, the world's part of a
        step is outside of the periods: the next one begins when frame and period are there.

    Raises:
      ValueError: `steps` is less than 1, `rate_hz` is not positive, or a pace has no rate.
    """
    check_pace(steps, rate_hz, paced)
    logs = {name: _Log() for name in session.policies}
    _watch(session, Timeline)
    try:
        before, after = _measure(session, steps, Pace(rate_hz) if paced and rate_hz else None, logs)
    finally:
        _watch(session, lambda: None)
    machine = machine_facts()
    machine.pop("load")  # the conditions have it, before and after
    conditions = Conditions(before, after, machine["cores"], os.cpu_count() or 1, governors())
    profiles = {
        name: log.profile(machine=machine, run=session.run, rate_hz=rate_hz,
                          plan=session.facts[name][0], compute=session.facts[name][1])
        for name, log in logs.items()
    }  # fmt: skip
    return Comparison(profiles, conditions)


def check_pace(steps: int, rate_hz: float | None, paced: bool) -> None:
    """Raises ValueError where `measure_session` does."""
    check_int("steps", steps, 1)
    if rate_hz is not None:
        check_positive("rate", rate_hz)
    elif paced:
        raise ValueError("rate: expected control steps per second, which paced steps need")


def _measure(
    session: Session, steps: int, pace: Pace | None, logs: dict[str, _Log]
) -> tuple[State, State]:
    """Takes the steps; returns the machine's state before and after those that count."""
    names, world = list(session.policies), session.world
    before, ended = State.now(), True
    frame: Observation = {}
    for number in range(-min(WARMUP, steps), steps):
        if number == 0:
            before = State.now()
        if ended:
            frame, seeds = world.restart()
            for policy in session.policies.values():
                policy.reset(seeds)
        taken = {name: _step(session.policies[name], frame, pace) for name in turns(names, number)}
        action = taken[names[0]].action
        for policy in session.policies.values():
            policy.executed(action)
        frame, ended, times = world.step(action)
        for name, step in taken.items():
            step.times.update(times)
            logs[name].add(step, counts=number >= 0)
    return before, State.now()


@dataclass(frozen=True, eq=False)
class _Step:
    """Holds what was measured of one step of a policy."""

    action: npt.NDArray[np.float32]
    begin: float
    times: dict[str, Times]
    rounds: list[dict[str, Times]]
    iterations: int | None
    late: float | None
    preemptions: int

    __repr__ = short_repr


def _step(policy: Policy, frame: Observation, pace: Pace | None) -> _Step:
    late = None if pace is None else 1e3 * pace.wait()
    preemptions, begin = _preemptions(), time.perf_counter()
    action, act = timed(partial(policy.act, frame))
    preemptions = _preemptions() - preemptions
    spans: list[Span] = []
    iterations = None
    if isinstance(policy, Agent):
        spans = [] if policy.timeline is None else [*policy.timeline.spans]
        iterations = None if policy.planned is None else policy.planned.iterations
    times, rounds = by_stage(act, spans), by_iteration(spans)
    return _Step(action, begin, times, rounds, iterations, late, preemptions)


@dataclass
class _Log:
    """Keeps what was measured of a policy, step by step."""

    steps: list[_Step] = field(default_factory=list)
    warmup: int = 0

    def add(self, step: _Step, counts: bool) -> None:
        """Adds a step, or counts it as one of the warm-up."""
        if counts:
            self.steps.append(step)
        else:
            self.warmup += 1

    def profile(self, **facts: Any) -> Profile:
        """Sums up the steps."""
        steps = self.steps
        rounds = max(len(step.rounds) for step in steps)
        return Profile(
            stages_of([step.times for step in steps]),
            tuple(step.iterations for step in steps if step.iterations is not None),
            rounds=tuple(
                stages_of([step.rounds[i] for step in steps if i < len(step.rounds)])
                for i in range(rounds)
            ),
            warmup=self.warmup,
            starts=tuple(step.begin - steps[0].begin for step in steps),
            lateness=tuple(step.late for step in steps if step.late is not None),
            preemptions=tuple(step.preemptions for step in steps),
            **facts,
        )


def turns(names: Sequence[str], step: int) -> Sequence[str]:
    """Orders the policies: at every step another one is the first."""
    start = step % len(names)
    return [*names[start:], *names[:start]]


def _watch(session: Session, make: Callable[[], Timeline | None]) -> None:
    """Gives every agent a timeline, or none."""
    for policy in session.policies.values():
        if isinstance(policy, Agent):
            policy.timeline = make()


def _preemptions() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
