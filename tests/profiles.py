"""Made-up profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planet.profiling import Profile, Stage

PLAN = {"horizon": 12, "iterations": 10, "belief_size": 200, "reward_hidden": [200, 100]}


def stage_of(*milliseconds: float, name: str = "act", cpu: Sequence[float] = ()) -> Stage:
    """A stage whose CPU times are those of the clock, if there are no others."""
    return Stage(name, milliseconds, tuple(cpu) or milliseconds)


def profile_of(*stages: Stage, iterations: int = 10, **change: Any) -> Profile:
    """A profile with facts."""
    facts: dict[str, Any] = {
        "plan": dict(PLAN), "compute": {"backend": "fused", "threads": 1}, "machine": {"cores": 2},
        "warmup": 5,
    }  # fmt: skip
    steps = len(stages[0].milliseconds)
    return Profile(stages, iterations=(iterations,) * steps, **(facts | change))
