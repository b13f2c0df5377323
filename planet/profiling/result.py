"""Writes profiles of one planner and of several as JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from planet.profiling.latency import Stage

SHARED = ("render", "environment")
"""Stages that every planner of a comparison waits for alike; they are timed once per step."""


@dataclass(frozen=True)
class Profile:
    """Holds the times of one planner by stage, and what they depend on.

    Attributes:
      stages: in the order of a step, the whole step last.
      iterations: of every plan; fewer than asked for only where there is a budget, and none of a
        policy that does not plan.
      plan: the plan's sizes.
      compute: device, imagination, instruction set, threads.
      machine: see `planet.diagnostics.machine.machine_facts`.
      run: task, episodes and updates of the agent; None for a bare planner with random weights.
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
    def step(self) -> Stage:
        """The whole control step."""
        return self.stages[-1]

    @property
    def missed(self) -> float | None:
        """Share of steps that miss the deadline of the control rate; None without a rate."""
        return None if self.rate_hz is None else self.step.missed(self.rate_hz)

    def stage(self, name: str) -> Stage:
        """Returns the stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)

    def measured(self) -> dict[str, Any]:
        """Returns the measurements as JSON values."""
        stages = {stage.name: stage.summary() for stage in self.stages}
        measured = {"compute": self.compute, "stages": stages, "missed": self.missed}
        if done := self.iterations:
            spread = {"least": min(done), "median": median(done), "most": max(done)}
            return {**measured, "iterations": spread}
        return measured

    def to_dict(self) -> dict[str, Any]:
        """Returns the profile as JSON values."""
        return _document(self, self.measured())

    def table(self) -> str:
        """Writes facts and times as lines of text."""
        return Comparison({"": self}).table()


@dataclass(frozen=True)
class Comparison:
    """Holds profiles of several planners on the same steps; ratios are to the first one.

    Attributes:
      profiles: by name.
    """

    profiles: Mapping[str, Profile]

    @property
    def first(self) -> Profile:
        """The profile that the others are compared with."""
        return next(iter(self.profiles.values()))

    def to_dict(self) -> dict[str, Any]:
        """Returns the profiles as JSON values."""
        first, planners = self.first, {}
        for name, profile in self.profiles.items():
            own = [stage for stage in profile.stages if stage.name not in SHARED]
            speedup = {stage.name: stage.speedup(first.stage(stage.name)) for stage in own}
            planners[name] = {**profile.measured(), "speedup": speedup}
        measured = {"speedup_over": next(iter(self.profiles)), "planners": planners}
        return _document(first, measured)

    def table(self) -> str:
        """Writes facts and times as text, a line per stage and planner."""
        several = len(self.profiles) > 1
        width = max(map(len, self.profiles)) + 2 if several else 0
        lines = [*self._facts(), "", *self._legend(), ""]
        titles = (name.removesuffix("_ms") for name in self.first.step.summary())
        header = "".join(f"{title:>9}" for title in titles)
        missed = "   missed" if self.first.rate_hz else ""
        faster = "   faster" if several else ""
        name = "planner" if several else ""
        lines.append(f"{'stage':12}{name:{width}}{header}{missed}{faster}")
        for stage in self.first.stages:
            lines += self._rows(stage.name, width)
        return "\n".join(line.rstrip() for line in lines)

    def _rows(self, stage_name: str, width: int) -> list[str]:
        several = len(self.profiles) > 1
        shared = several and stage_name in SHARED
        rows = []
        for number, (name, profile) in enumerate(self.profiles.items()):
            stage = profile.stage(stage_name)
            row = f"{'' if number else stage_name:12}{'all' if shared else name:{width}}"
            row += "".join(f"{value:9.2f}" for value in stage.summary().values())
            if profile.missed is not None:
                row += f"{profile.missed:9.1%}" if stage is profile.step else " " * 9
            if shared:
                return [row]
            if several:
                row += f"{stage.speedup(self.first.stage(stage_name)):8.2f}x"
            rows.append(row)
        return rows

    def _facts(self) -> list[str]:
        first = self.first
        facts = {"run": first.run or {}, "plan": first.plan}
        for name, profile in self.profiles.items():
            facts[name or "compute"] = dict(profile.compute)
            done = profile.iterations
            if done and min(done) < profile.plan["iterations"]:
                spread = f"{min(done)} to {max(done)}, median {median(done):g}"
                facts[name or "compute"]["iterations"] = spread
        facts["machine"] = first.machine
        width = max(9, *(len(title) + 2 for title in facts))
        return [
            f"{title:{width}}" + ", ".join(f"{_words(n)} {_shown(v)}" for n, v in values.items())
            for title, values in facts.items()
            if values
        ]

    def _legend(self) -> list[str]:
        first = self.first
        steps = len(first.step.milliseconds)
        lines = [f"ms per control step, {steps} steps; jitter is p99 - p50"]
        if first.rate_hz is not None:
            period = f"{1e3 / first.rate_hz:g} ms ({first.rate_hz:g} Hz)"
            lines.append(f"missed: share of steps that take longer than {period}")
        if len(self.profiles) > 1:
            name = next(iter(self.profiles))
            lines.append(f"faster: than {name}, median of the ratios step by step")
        return lines


def _document(profile: Profile, measured: dict[str, Any]) -> dict[str, Any]:
    """Puts measurements between the facts that planners share."""
    head = {"steps": len(profile.step.milliseconds), "rate_hz": profile.rate_hz}
    facts = {"plan": profile.plan, "machine": profile.machine, "run": profile.run}
    return {**head, **measured, **facts}


def _words(name: str) -> str:
    """Writes a name for people: "belief_size" is "belief"."""
    return name.removesuffix("_size").replace("_", " ")


def _shown(value: object) -> str:
    """Writes a value for people: [200, 200] is "200 200"."""
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
