"""Acts by planning with a scorer that knows where the environment stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from planet.acting.starts import check_starts
from planet.noise import mix_seed
from planet.planning import SamplingPlanner, executable, sequence, shift
from planet.protocols import Observation, Plan, Planner, Scorer


class PlanningPolicy:
    """Plans from the true state, at every step or every few: nothing is observed or believed.

    It acts in a single environment, and adds no noise. A plan starts where the one before goes on,
    with planners that say how. Randomness derives from the seed of the reset and the step, as an
    agent's does.

    Attributes:
      planned: the episode's newest plan; None before it.

    Args:
      scorer: of one problem, whose sequences start where the environment stands at the call:
        a `planet.envs.simulator.Simulator`.
      planner: decides on actions.
      budget_ms: milliseconds that a plan may take; None: whatever it takes.
      execute: actions of a plan that are executed before the next one, as an agent's.

    Raises:
      TypeError, ValueError: the scorer is of several problems, or plans have not so many actions to
        execute.
    """

    def __init__(
        self, scorer: Scorer, planner: Planner, budget_ms: float | None = None, execute: int = 1
    ) -> None:
        if scorer.batch_size != 1:
            raise ValueError(f"scorer: expected batch_size 1, got {scorer.batch_size}")
        self._scorer, self._planner, self._budget_ms = scorer, planner, budget_ms
        self._execute = executable(planner, execute)
        self.planned: Plan | None = None
        self._seed, self._step = 0, 0

    def reset(self, seeds: Sequence[int] | int = 0, rows: Sequence[int] | None = None) -> None:
        """Starts an episode, whose first plan is cold.

        Args:
          seeds: of the one row; an int s stands for `row_seeds(s, 1)`.
          rows: None, or that row, 0.

        Raises:
          TypeError, ValueError: a seed is none, or there are others.
        """
        if rows is not None and list(rows) != [0]:
            raise ValueError(f"rows: expected None or [0], got {rows}")
        (self._seed,) = [mix_seed(seed, 0) for seed in check_starts(seeds, 1)]
        self._step, self.planned = 0, None

    def act(self, observation: Observation, explore: bool = False) -> npt.NDArray[np.float32]:
        """Plans where the plan before was executed; returns the action to execute, float32 [A].

        Args:
          observation: not read.
          explore: not read.

        Raises:
          ValueError: the plan is not finite: no candidate could be scored.
        """
        taken = self._step % self._execute
        plan = self._plan() if self.planned is None or not taken else self.planned
        self.planned, self._step = plan, self._step + 1
        action = sequence(plan, self._planner)[taken, 0]
        out: npt.NDArray[np.float32] = action.cpu().numpy().copy()
        return out

    def _plan(self) -> Plan:
        seed = torch.tensor([mix_seed(self._seed, self._step)], device="cpu")
        warm = shifted(self.planned, self._planner, self._scorer, self._execute)
        plan = self._planner.plan(self._scorer, seed, warm=warm, budget_ms=self._budget_ms)
        if not plan.finite.all():
            raise ValueError(
                f"plan: expected a finite one, got NaN or infinite at step {self._step}: "
                "no candidate's return is finite"
            )
        return plan

    def executed(self, action: npt.ArrayLike) -> None:
        """Does nothing: the next plan starts where the environment stands."""


def shifted(before: Plan | None, planner: Planner, scorer: Scorer, steps: int = 1) -> Plan | None:
    """Returns what a planner starts from some steps after the plan `before`; None: it starts cold.

    The plan may be of another device than the scorer.
    """
    if before is None or not isinstance(planner, SamplingPlanner):
        return None
    if planner.settings.shift == "none":
        return None
    return shift(before.to(scorer.low.device), steps, planner, scorer)
