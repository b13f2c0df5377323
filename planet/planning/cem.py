"""The cross-entropy method planner."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from planet.config import PlannerConfig
from planet.latent import LatentState
from planet.ops import backend
from planet.ops.checks import MAX_HORIZON, check_int, check_start
from planet.ops.results import Plan
from planet.ops.variants import check_variant, cuda_variant
from planet.weights import RolloutWeights


@dataclass(frozen=True)
class CEMPlanner:
    """Plans from mean 0 and stddev `initial_stddev` at every call (Hafner et al., 2019, Alg. 2).

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences per iteration.
      iterations: I.
      topk: K, elites.
      backend: "fused" (compiled core) or "reference" (plain PyTorch).
      initial_stddev: of the first iteration's actions.
      low: smallest action: float, [A] or [B, A].
      high: largest action, likewise.
      spread, epsilon: see `planet.ops.reference.refit`.
      state_noise, discount, precision, budget_ms: see `planet.ops.reference.cem_plan`.
      variant: of the fused backend's CUDA kernels (`planet.ops.variants`); None: as a `with
        cuda_variant(...)` around the call says, else "portable".
    """

    horizon: int = 12
    candidates: int = 1000
    iterations: int = 10
    topk: int = 100
    backend: str = "fused"
    initial_stddev: float = 1.0
    low: float | Tensor = -1.0
    high: float | Tensor = 1.0
    spread: str = "population"
    epsilon: float = 1e-6
    state_noise: bool = True
    discount: float = 1.0
    precision: str = "fp32"
    budget_ms: float | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        backend(self.backend)
        if self.variant is not None:
            check_variant(self.variant)
            if self.backend != "fused":
                raise ValueError(
                    f"variant: expected None with backend={self.backend!r}, got {self.variant!r}"
                )
        check_int("horizon", self.horizon, 1, MAX_HORIZON)
        stddev = self.initial_stddev
        if isinstance(stddev, bool) or not isinstance(stddev, (int, float)):
            raise TypeError(f"initial_stddev: expected a float, got {type(stddev).__name__}")
        if not 0.0 <= stddev < float("inf"):
            raise ValueError(f"initial_stddev: expected a finite value >= 0, got {stddev}")

    @staticmethod
    def from_config(config: PlannerConfig) -> CEMPlanner:
        """The planner that the settings describe."""
        return CEMPlanner(**vars(config))

    def plan(
        self,
        weights: RolloutWeights,
        latent: LatentState,
        seed: int | Tensor = 0,
        *,
        budget_ms: float | None = None,
    ) -> Plan:
        """Plans one action sequence per problem.

        Args:
          weights: snapshot of the model.
          latent: belief [B, D] and state [B, S].
          seed: int, or int64 tensor [B]; the same seed gives the same plan.
          budget_ms: milliseconds that this plan may take; None: those of the planner.

        Returns:
          Plan; `plan.action` [B, A] is the action to execute, `plan.iterations` how many
          iterations were run: fewer than I only with a budget.

        Raises:
          TypeError, ValueError: see `planet.ops.reference.cem_plan`.
        """
        shape = (self.horizon, check_start(weights, latent), weights.action_size)
        mean = torch.zeros(shape, dtype=torch.float32, device=weights.device)
        with cuda_variant(self.variant) if self.variant else nullcontext():
            plan: Plan = backend(self.backend).cem_plan(
                weights,
                latent,
                mean,
                torch.full_like(mean, self.initial_stddev),
                seed=seed,
                candidates=self.candidates,
                topk=self.topk,
                iterations=self.iterations,
                low=self.low,
                high=self.high,
                spread=self.spread,
                epsilon=self.epsilon,
                state_noise=self.state_noise,
                discount=self.discount,
                precision=self.precision,
                budget_ms=self.budget_ms if budget_ms is None else budget_ms,
            )
        return plan

    def try_out(self, weights: RolloutWeights) -> None:
        """Plans once with a small plan, so that what is missing is found before any work.

        Args:
          weights: snapshot of the model that will be planned with.

        Raises:
          ImportError: the backend is missing.
          TypeError, ValueError: a setting, or the backend does not serve the device or precision.
        """
        latent = LatentState(
            torch.zeros(1, weights.belief_size, device=weights.device),
            torch.zeros(1, weights.state_size, device=weights.device),
        )
        replace(self, horizon=1, candidates=self.topk, iterations=1).plan(weights, latent)
