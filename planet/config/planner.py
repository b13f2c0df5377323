"""Settings of the planner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planet.config.checks import check_positive, check_range, check_types


@dataclass(frozen=True)
class PlannerConfig:
    """Sets up the cross-entropy method, Algorithm 2."""

    name: str = "cem"  # the planner, an entry of planet.planning.PLANNERS [P]
    horizon: int = 12  # H, model steps [P Alg. 2; G configs.py:250]
    candidates: int = 1000  # J, action sequences per iteration [P; G configs.py:294]
    iterations: int = 10  # I, rounds of drawing and refitting [P; G configs.py:293]
    topk: int = 100  # K, elites [P; G configs.py:295]
    initial_stddev: float = 1.0  # of the first actions, in half widths of the box [P Alg. 2; G]
    spread: Literal["population", "mean_absolute"] = "population"  # of the refit [G planning.py]
    epsilon: float = 1e-6  # added to the refit's variance [G control/planning.py:60]
    low: float = -1.0  # smallest action [G planning.py:44]
    high: float = 1.0  # largest action [G planning.py:44]
    budget_ms: float | None = None  # a plan ends with the last iteration that fits; None: all I [O]

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(
            self, "horizon", "candidates", "iterations", "topk", "initial_stddev", "budget_ms"
        )
        check_range(self, 0.0, None, "epsilon")
        check_elites(self.topk, self.candidates, self.spread)
        if not self.low <= self.high:
            raise ValueError(f"low: expected a value <= high={self.high}, got {self.low}")


def check_elites(topk: int, candidates: int, spread: str) -> None:
    """Raises ValueError unless K of J candidates can be refitted."""
    if not 1 <= topk <= candidates:
        raise ValueError(f"topk: expected 1 <= K <= J={candidates}, got {topk}")
    if spread == "mean_absolute" and topk < 2:
        raise ValueError(f"topk: expected K >= 2 for spread='mean_absolute', got {topk}")
