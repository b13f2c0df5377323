"""The random shooting planner."""

from __future__ import annotations

from dataclasses import dataclass, field

from planet.planning.sampling import SamplingPlanner


@dataclass(frozen=True)
class ShootingPlanner(SamplingPlanner):
    """Plans the best of the first candidates: one iteration, whose only elite is its mean.

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences.
      initial_stddev: of actions, in units of half the width of the box.

    Raises:
      TypeError, ValueError: a number has a wrong type or is out of range.
    """

    candidates: int = 1000
    initial_stddev: float = 1.0
    iterations: int = field(default=1, init=False)
    topk: int = field(default=1, init=False)
