"""A batch of equally long pieces of episodes, as training reads it from replay."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from planet.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class Chunk:
    """A time-major batch of B sequences of T consecutive entries, each from one episode.

    Attributes:
      observation: uint8 [T, B, h, w, 3] pixels.
      action: float32 [T, B, A]; action[t] led to observation[t].
      reward: float32 [T, B]; received together with observation[t].
    """

    observation: Tensor
    action: Tensor
    reward: Tensor

    __repr__ = short_repr

    def to(self, device: torch.device | str) -> Chunk:
        """Returns the chunk on `device`."""
        return Chunk(self.observation.to(device), self.action.to(device), self.reward.to(device))
