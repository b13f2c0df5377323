"""The cross-entropy method planner."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from planet.config import ImaginationConfig, PlannerConfig
from planet.latent import LatentState
from planet.ops import backend
from planet.ops.bounds import Bound, CheckedBound
from planet.ops.checks import MAX_HORIZON, check_start
from planet.ops.tracing import may_be_kept
from planet.ops.variants import check_variant, chosen_variant, cuda_variant
from planet.planning.box import Box
from planet.protocols import Plan
from planet.scalars import check_int, check_not_negative
from planet.short_repr import short_repr
from planet.weights import RolloutWeights


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
      backend: "fused" (compiled core) or "reference" (plain PyTorch).
      initial_stddev: of the first iteration's actions, in units of half the width of the box.
      low: smallest action: a float, or [A] or [B, A] as a list, a numpy array or a tensor on any
        device; of any real dtype, rounded to the nearest float32. Copied and checked here, element
        by element unless on another device than the CPU.
      high: largest action, likewise; low = high fixes an action.
      spread, epsilon: see `planet.ops.reference.refit`. The default epsilon keeps every stddev
        above 1e-3; a box that is not wide against that needs a smaller one.
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
    low: Bound = -1.0
    high: Bound = 1.0
    spread: str = "population"
    epsilon: float = 1e-6
    state_noise: bool = True
    discount: float = 1.0
    precision: str = "fp32"
    budget_ms: float | None = None
    variant: str | None = None
    _boxes: dict[torch.device, Box] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        backend(self.backend)
        if self.variant is not None:
            check_variant(self.variant)
            if self.backend != "fused":
                raise ValueError(
                    f"variant: expected None with backend={self.backend!r}, got {self.variant!r}"
                )
        # Frozen, so what was checked is set as dataclasses themselves do it.
        horizon = check_int("horizon", self.horizon, 1, MAX_HORIZON)
        object.__setattr__(self, "horizon", horizon)
        stddev = check_not_negative("initial_stddev", self.initial_stddev)
        object.__setattr__(self, "initial_stddev", stddev)
        box = Box.between(self.low, self.high)
        object.__setattr__(self, "low", box.low)
        object.__setattr__(self, "high", box.high)
        self._boxes[_home(box)] = box

    def __getstate__(self) -> dict[str, Any]:
        """Pickles and copies the box where it was given, without copies on other devices."""
        home, *_ = self._boxes.items()
        return vars(self) | {"_boxes": dict([home])}

    @staticmethod
    def from_config(config: PlannerConfig, imagination: ImaginationConfig) -> CEMPlanner:
        """The planner that the settings describe."""
        variant = None if imagination.variant == "portable" else imagination.variant
        return CEMPlanner(**{**vars(config), **vars(imagination), "variant": variant})

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
          seed: int (numpy's too), or int64 tensor [B]; the same seed gives the same plan.
          budget_ms: milliseconds that this plan may take; None: those of the planner.

        Returns:
          Plan; `plan.action` [B, A] is the action to execute, `plan.iterations` how many
          iterations were run: fewer than I only with a budget.

        Raises:
          TypeError, ValueError: see `planet.ops.reference.cem_plan`.
        """
        batch, size, device = check_start(weights, latent), weights.action_size, weights.device
        box = self.box(device)
        box.check_shapes(batch, size)
        mean, stddev = box.distribution((self.horizon, batch, size), self.initial_stddev, device)
        other = self.variant is not None and self.variant != chosen_variant()
        with cuda_variant(str(self.variant)) if other else nullcontext():
            plan: Plan = backend(self.backend).cem_plan(
                weights,
                latent,
                mean,
                stddev,
                seed=seed,
                candidates=self.candidates,
                topk=self.topk,
                iterations=self.iterations,
                low=CheckedBound(box.low),
                high=CheckedBound(box.high),
                spread=self.spread,
                epsilon=self.epsilon,
                state_noise=self.state_noise,
                discount=self.discount,
                precision=self.precision,
                budget_ms=self.budget_ms if budget_ms is None else budget_ms,
            )
        return plan

    def box(self, device: torch.device) -> Box:
        """The box of actions on `device`, where its tensors are copied once."""
        box = self._boxes.get(device)
        if box is None:
            box = next(iter(self._boxes.values())).to(device)
            if may_be_kept(box.middle):
                self._boxes[device] = box
        return box

    def try_out(self, weights: RolloutWeights) -> None:
        """Plans once with a small plan, so that what is missing is found before any work.

        Args:
          weights: snapshot of the model that will be planned with.

        Raises:
          ImportError: the backend is missing.
          TypeError, ValueError: a setting, or the backend does not serve the device or precision.
        """
        zeros = weights.input_weight.new_zeros
        middle = self.box(weights.device).middle
        batch = len(middle) if isinstance(middle, Tensor) and middle.dim() == 2 else 1
        latent = LatentState(zeros(batch, weights.belief_size), zeros(batch, weights.state_size))
        replace(self, horizon=1, candidates=self.topk, iterations=1).plan(weights, latent)


def _home(box: Box) -> torch.device:
    middle = box.middle
    return middle.device if isinstance(middle, Tensor) else torch.device("cpu")
