"""The cross-entropy method planner."""

from __future__ import annotations

from dataclasses import dataclass

from planet.planning.sampling import SamplingPlanner


@dataclass(frozen=True)
class CEMPlanner(SamplingPlanner):
    """Plans from the middle of the box of actions at every call (Hafner et al., 2019, Alg. 2).

    The first candidates have the middle of the box as mean, and half its width times
    `initial_stddev` as stddev: 0 and 1 in [-1, 1], as the paper has them.

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences per iteration.
      iterations: I.
      topk: K, elites.
      initial_stddev: of the first iteration's actions, in units of half the width of the box;
        None: 1.
      spread, epsilon: see `planet.ops.reference.refit`. The default epsilon keeps every stddev
        above 1e-3; a box that is not wide against that needs a smaller one.

    Raises:
      TypeError, ValueError: a number has a wrong type or is out of range.
    """

    candidates: int = 1000
    iterations: int = 10
    topk: int = 100
    initial_stddev: float | None = None
    spread: str = "population"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.initial_stddev is None:
            object.__setattr__(self, "initial_stddev", 1.0)  # frozen
        super().__post_init__()
