"""The cross-entropy method planner."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from planet.config import PlannerConfig
from planet.errors.scalars import check_int, check_not_negative
from planet.ops.checks import MAX_CANDIDATES, MAX_HORIZON, MAX_ITERATIONS, check_fit
from planet.planning.sampling import search
from planet.protocols import Plan, Scorer


@dataclass(frozen=True)
class CEMPlanner:
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

    horizon: int = 12
    candidates: int = 1000
    iterations: int = 10
    topk: int = 100
    initial_stddev: float | None = None
    spread: str = "population"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        candidates = check_int("candidates", self.candidates, 1, MAX_CANDIDATES)
        topk, epsilon = check_fit(self.topk, candidates, self.spread, self.epsilon)
        stddev = 1.0 if self.initial_stddev is None else self.initial_stddev
        checked = {
            "horizon": check_int("horizon", self.horizon, 1, MAX_HORIZON),
            "candidates": candidates,
            "iterations": check_int("iterations", self.iterations, 1, MAX_ITERATIONS),
            "topk": topk,
            "initial_stddev": check_not_negative("initial_stddev", stddev),
            "epsilon": epsilon,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen

    @staticmethod
    def from_config(config: PlannerConfig) -> CEMPlanner:
        """Makes the planner that the settings describe."""
        return CEMPlanner(
            config.horizon, config.candidates, config.iterations, config.topk,
            config.initial_stddev, config.spread, config.epsilon,
        )  # fmt: skip

    def plan(
        self,
        imagination: Scorer,
        seed: int | Tensor = 0,
        *,
        warm: Plan | None = None,
        budget_ms: float | None = None,
    ) -> Plan:
        """Plans one action sequence per problem.

        Args:
          imagination: a model and where its rollouts start, or another scorer.
          seed: int (numpy's too), or int64 tensor [B]; the same seed gives the same plan.
          warm: refused, unless None.
          budget_ms: milliseconds that the plan may take, at least one iteration; None: all I.

        Returns:
          Plan; `plan.action` [B, A] is the action to execute, `plan.iterations` how many
          iterations were run: fewer than I only with a budget.

        Raises:
          TypeError, ValueError: see `planet.ops.reference.cem_plan`.
        """
        assert self.initial_stddev is not None
        return search(
            imagination, seed, warm, budget_ms,
            horizon=self.horizon, candidates=self.candidates, iterations=self.iterations,
            topk=self.topk, initial_stddev=self.initial_stddev, spread=self.spread,
            epsilon=self.epsilon,
        )  # fmt: skip
