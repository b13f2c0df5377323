"""What the ops return."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from planet.short_repr import short_repr


@dataclass(frozen=True)
class Refit:
    """The action distribution fitted to the best candidates.

    Attributes:
      mean: [H, B, A].
      stddev: [H, B, A].
      elites: candidate indices by rank, int64 [B, K].
      best: largest return, [B]; NaN when all returns are NaN.
    """

    mean: Tensor
    stddev: Tensor
    elites: Tensor
    best: Tensor

    __repr__ = short_repr


@dataclass(frozen=True)
class Plan:
    """The outcome of the cross-entropy method.

    A plan from a latent or weights whose returns are NaN or infinite looks like any other: the
    action lies in its box. `finite` tells them apart, at the cost of a look at the tensors.

    Attributes:
      action: the first action of the plan, `mean[0]`, [B, A].
      mean: [H, B, A].
      stddev: [H, B, A].
      best_return: largest return of the last iteration, [B], in environment reward units.
      iterations: how many iterations were run.
    """

    action: Tensor
    mean: Tensor
    stddev: Tensor
    best_return: Tensor
    iterations: int

    __repr__ = short_repr

    @property
    def finite(self) -> Tensor:
        """Whether mean and best return are finite, per problem: bool [B], on the plan's device."""
        return self.mean.isfinite().all(dim=-1).all(dim=0) & self.best_return.isfinite()
