"""Holds the value that `refit` returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from planet.errors.short_repr import short_repr


@dataclass(frozen=True)
class Refit:
    """Holds the action distribution fitted to the best candidates.

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
