"""Holds what was measured of one policy, and of several side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planet.profiling.conditions import Conditions
from planet.profiling.latency import Stage

SHARED = ("render", "environment")
"""Stages that every policy of a comparison waits for alike; they are timed once per step."""


@dataclass(frozen=True)
class Profile:
    """Holds the times of one policy by stage, and what they depend on.

    Attributes:
      stages: "act" first; see `Stage`.
      iterations: of every step's plan; fewer than asked for only where there is a budget, and none
        of a policy that does not plan.
      plan: the plan's sizes.
      compute: device, imagination, instruction set, threads.
      machine: see `planet.diagnostics.machine.machine_facts`.
      run: task, episodes and updates of the agent; None for an untrained one.
      rate_hz: control steps per second that are asked for; None: no deadline.
      rounds: for every iteration of the plan its "rollouts", "selection" and "refit"; steps that a
        budget ended earlier are not among their values.
      warmup: steps before the first one that counts.
      starts: seconds from the start of the first step to that of each.
      lateness: milliseconds from the time at which each step was to start to its start; empty
        where steps follow one another without a pace.
      preemptions: how often the system took a core from a thread of the process in each step.
    """

    stages: tuple[Stage, ...]
    iterations: tuple[int, ...]
    plan: dict[str, Any]
    compute: dict[str, Any]
    machine: dict[str, Any]
    run: dict[str, Any] | None = None
    rate_hz: float | None = None
    rounds: tuple[tuple[Stage, ...], ...] = ()
    warmup: int = 0
    starts: tuple[float, ...] = ()
    lateness: tuple[float, ...] = ()
    preemptions: tuple[int, ...] = ()

    @property
    def act(self) -> Stage:
        """`Policy.act` from end to end."""
        return self.stage("act")

    @property
    def steps(self) -> int:
        """Number of steps that count."""
        return len(self.act.milliseconds)

    @property
    def missed(self) -> float | None:
        """Share of steps whose action came after their period's end; None without a rate.

        Without a pace a step's period begins with the step.
        """
        if self.rate_hz is None:
            return None
        late = self.lateness or (0.0,) * self.steps
        times = zip(late, self.act.milliseconds, strict=True)
        return sum(late + act > 1e3 / self.rate_hz for late, act in times) / self.steps

    def stage(self, name: str) -> Stage:
        """Returns the stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)


@dataclass(frozen=True)
class Comparison:
    """Holds profiles of several policies on the same steps; ratios are to the first one.

    Attributes:
      profiles: by name; the name of a single one is "".
      conditions: of the machine meanwhile; None where they were not read.
      source: version and commit of planet, command and date.
    """

    profiles: Mapping[str, Profile]
    conditions: Conditions | None = None
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> Profile:
        """The profile that the others are compared with."""
        return next(iter(self.profiles.values()))
