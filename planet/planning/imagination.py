"""The learned scorer: a model's snapshot, rolled out from fixed starts."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from planet import ops
from planet.config.imagination import ImaginationConfig, check_kernels
from planet.errors.scalars import check_bool, check_float
from planet.errors.short_repr import short_repr
from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import reference
from planet.ops.bounds import Bound, CheckedBound
from planet.ops.checks import check_latent, check_precision, check_start, check_variant
from planet.planning.box import Box
from planet.protocols import Plan
from planet.weights.rollout_weights import RolloutWeights


@dataclass(frozen=True, eq=False, init=False)
class Imagination:
    """Scores action sequences by imagined rollouts; a `planet.protocols.Scorer`.

    How a model is rolled out is said here, once, and in no planner.

    Args:
      weights: snapshot of the model.
      latent: starts; belief [B, D], state [B, S], or one per candidate [B, J, D], [B, J, S].
      low: smallest action: a float, or [A] or [B, A] as a list, a numpy array or a tensor on any
        device; of any real dtype, rounded to the nearest float32. Copied to the weights' device and
        checked here, element by element unless on another device than the CPU.
      high: largest action, likewise; low = high fixes an action.
      backend: "fused" (compiled core) or "reference" (plain PyTorch).
      precision: of the rollouts' products; see `planet.ops.reference.rollout_returns`.
      variant: of the fused backend's CUDA kernels; see `planet.ops.checks.VARIANTS`.
      state_noise: sample the prior (True) or follow its mean.
      discount: factor per model step.

    Raises:
      TypeError, ValueError: an argument has a wrong type, shape, device or value; the message names
        it, what was expected and what came.
    """

    weights: RolloutWeights
    latent: LatentState
    box: Box
    backend: str
    precision: str
    variant: str
    state_noise: bool
    discount: float

    __repr__ = short_repr

    def __init__(
        self,
        weights: RolloutWeights,
        latent: LatentState,
        *,
        low: Bound = -1.0,
        high: Bound = 1.0,
        backend: str = "fused",
        precision: str = "fp32",
        variant: str = "portable",
        state_noise: bool = True,
        discount: float = 1.0,
    ) -> None:
        ops.backend(backend)
        check_precision(precision)
        check_variant(variant)
        check_kernels(backend, variant)
        batch = check_start(weights, latent)
        candidates = latent.belief.shape[1] if latent.belief.dim() == 3 else None
        check_latent(weights, latent, batch, candidates)
        values = {
            "weights": weights,
            "latent": latent,
            "box": Box.of(low, high, batch, weights.action_size, weights.device),
            "backend": backend,
            "precision": precision,
            "variant": variant,
            "state_noise": check_bool("state_noise", state_noise),
            "discount": float(check_float("discount", discount)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # frozen

    @property
    def low(self) -> Tensor:
        """Smallest actions [B, A], on the weights' device."""
        return self.box.low.expand(self.batch_size, -1)

    @property
    def high(self) -> Tensor:
        """Largest actions [B, A], likewise."""
        return self.box.high.expand(self.batch_size, -1)

    @property
    def batch_size(self) -> int:
        """B."""
        return self.latent.belief.shape[0]

    @property
    def settings(self) -> ImaginationConfig:
        """Returns how the model is rolled out; nothing is open."""
        names = [field.name for field in fields(ImaginationConfig)]
        return ImaginationConfig(**{name: getattr(self, name) for name in names})

    def at(self, latent: LatentState) -> Imagination:
        """Returns the same from other starts, which are not checked."""
        other = copy.copy(self)
        object.__setattr__(other, "latent", latent)
        return other

    def returns(self, actions: Tensor, noise: Noise | Tensor | None) -> Tensor:
        """Sums predicted rewards along the rollouts of every candidate.

        Args:
          actions: [H, B, J, A].
          noise: see `planet.ops.reference.rollout_returns`; not read without `state_noise`.

        Returns:
          [B, J], in environment reward units.
        """
        returns: Tensor = ops.backend(self.backend).rollout_returns(
            self.weights, self.latent, actions, noise if self.state_noise else None,
            discount=self.discount, precision=self.precision,
        )  # fmt: skip
        return returns

    def differentiable_returns(self, actions: Tensor, noise: Noise | Tensor | None) -> Tensor:
        """Sums predicted rewards as `returns` does, so that actions have gradients.

        The reference computes them, in float32, whatever the backend.

        Raises:
          ValueError: the rollouts are of another precision.
        """
        if self.precision != "fp32":
            raise ValueError(
                f"imagination.precision: expected 'fp32' for gradients, got {self.precision!r}"
            )
        drawn = noise if self.state_noise else None
        given = self.weights, self.latent, actions, drawn
        return reference.differentiable_returns(*given, self.discount)

    def search(self, mean: Tensor, stddev: Tensor, **settings: Any) -> Plan:
        """Plans with the op of the backend; see `planet.ops.reference.cem_plan`.

        Args:
          mean: of the first candidates, [H, B, A].
          stddev: likewise.
          settings: of the planner, and the seed.
        """
        plan: Plan = ops.backend(self.backend).cem_plan(
            self.weights, self.latent, mean, stddev,
            low=CheckedBound(self.low), high=CheckedBound(self.high), state_noise=self.state_noise,
            discount=self.discount, precision=self.precision, variant=self.variant, **settings,
        )  # fmt: skip
        return plan
