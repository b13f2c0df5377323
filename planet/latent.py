"""The latent state of a model and the Gaussians over its stochastic part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from planet.errors.short_repr import short_repr


@dataclass(frozen=True)
class LatentState:
    """Holds where an imagined rollout starts, or where a filter stands.

    Attributes:
      belief: deterministic state h, [..., D].
      state: stochastic state s (a sample), [..., S].
    """

    belief: Tensor
    state: Tensor

    __repr__ = short_repr

    def to(self, device: torch.device | str) -> LatentState:
        """Returns the latent on `device`."""
        return LatentState(self.belief.to(device), self.state.to(device))

    @property
    def features(self) -> Tensor:
        """Belief and state side by side, belief first: [..., D+S]; what the heads read."""
        return torch.cat([self.belief, self.state], dim=-1)

    @property
    def finite(self) -> Tensor:
        """Whether all numbers are finite: bool [...], on the latent's device."""
        return self.features.isfinite().all(dim=-1)


@dataclass(frozen=True)
class Gaussian:
    """A diagonal Gaussian over the stochastic state.

    Attributes:
      mean: [..., S].
      stddev: [..., S], positive; zeros where a state is its mean.
    """

    mean: Tensor
    stddev: Tensor

    __repr__ = short_repr

    def sample(self, noise: Tensor) -> Tensor:
        """Returns `mean + stddev * noise` for standard normal `noise` [..., S]."""
        return self.mean + self.stddev * noise


T = TypeVar("T", LatentState, Gaussian)


def stacked(steps: Sequence[T]) -> T:
    """Stacks latents or Gaussians of one step each along a new first dimension."""
    parts = [list(part) for part in zip(*(vars(step).values() for step in steps), strict=True)]
    return type(steps[0])(*map(torch.stack, parts))


def kl_divergence(left: Gaussian, right: Gaussian) -> Tensor:
    """Computes KL(left || right), summed over the last dimension, in nats.

    sum_i ln(s2/s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2.

    Args:
      left: over [..., S].
      right: over [..., S].

    Returns:
      [...].
    """
    ratio = (left.stddev / right.stddev).square()
    error = ((left.mean - right.mean) / right.stddev).square()
    return 0.5 * (ratio + error - 1.0 - torch.log(ratio)).sum(dim=-1)
