"""Holds where the episodes of an agent stand between two control steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from planet.errors.short_repr import short_repr
from planet.latent import LatentState
from planet.noise import mix_seed
from planet.protocols import Plan


@dataclass(frozen=True)
class Moment:
    """Holds where B episodes stand; nobody writes its tensors.

    Attributes:
      latent: after the newest observation; zeros before the first.
      action: executed since then, float32 [B, A] on the host.
      plan: newest one; None before it.
      episode_seeds: int64 [B] on the host.
      steps: that an episode has had, likewise.
    """

    latent: LatentState
    action: Tensor
    plan: Plan | None
    episode_seeds: Tensor
    steps: Tensor

    __repr__ = short_repr

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self.steps)

    def frozen(self) -> Moment:
        """Returns what no later step writes: itself."""
        return self

    def executing(self, action: Tensor) -> Moment:
        """Returns the moment with another action [B, A], which is kept."""
        return replace(self, action=action)

    def restarted(self, rows: list[int], seeds: list[int]) -> Moment:
        """Returns the moment with new episodes in some rows, from the zero latent."""
        latent, action = self.latent, self.action
        parts = [part.clone() for part in (latent.belief, latent.state, action, self.steps)]
        for part in parts:
            part[rows] = 0
        belief, state, action, steps = parts
        episode_seeds = self.episode_seeds.clone()
        episode_seeds[rows] = first_seeds(seeds)
        return replace(
            self, latent=LatentState(belief, state), action=action, episode_seeds=episode_seeds,
            steps=steps,
        )  # fmt: skip

    def step_seeds(self) -> Tensor:
        """Returns the seed of every row's next step, int64 [B] on the host."""
        pairs = zip(self.episode_seeds.tolist(), self.steps.tolist(), strict=True)
        return _integers([mix_seed(seed, step) for seed, step in pairs])


def first_seeds(seeds: list[int]) -> Tensor:
    """Returns the seeds of episodes, int64, of those that `reset` is given."""
    return _integers([mix_seed(seed, 0) for seed in seeds])


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device="cpu")
