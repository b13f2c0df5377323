"""A snapshot in memory that stays where it is, as a CUDA graph reads it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from planet.models.model_filter import AgentWeights, ModelFilter
from planet.ops import fused
from planet.planning import Imagination
from planet.planning.box import Box


class StaticSnapshot:
    """Holds a copy of a snapshot and of its imagination, into which newer ones are written.

    What it copies is never written.

    Attributes:
      weights: the copy of the snapshot, though none itself: its tensors change in `write`.
      imagination: the copy of the imagination, of `weights.rollout`.
    """

    def __init__(self, weights: AgentWeights, imagination: Imagination) -> None:
        self.weights = weights.copied()
        own = {
            "weights": self.weights.rollout,
            "box": Box(**{name: bound.clone() for name, bound in vars(imagination.box).items()}),
        }
        self.imagination = copy.copy(imagination)
        for name, value in own.items():
            object.__setattr__(self.imagination, name, value)  # frozen

    def holds(self, weights: AgentWeights, imagination: Imagination) -> bool:
        """Whether newer ones differ in numbers of tensors and in the latent alone."""
        return _form(weights, imagination) == _form(self.weights, self.imagination)

    @torch.no_grad()
    def write(self, weights: AgentWeights, imagination: Imagination) -> None:
        """Takes over the tensors of newer ones that it `holds`.

        They are written by the current stream, which is waited for where kernels packed them.
        Whatever reads the old ones has finished, on every stream.
        """
        mine, newer = _tensors(self.weights, self.imagination), _tensors(weights, imagination)
        torch._foreach_copy_(mine, newer)
        if imagination.backend == "fused":
            fused.repack(self.weights.rollout, weights.rollout)
        if not isinstance(self.weights, ModelFilter):
            self.weights._cache.clear()  # CPUs pack filters anew; no graph reads what they packed


def _tensors(weights: AgentWeights, imagination: Imagination) -> list[Tensor]:
    box = imagination.box
    named = weights.named_tensors()
    return [*named.values(), box.low, box.high, box.middle, box.half_width]


def _form(weights: AgentWeights, imagination: Imagination) -> list[object]:
    """Lists what a graph has in its kernels: all settings, and the tensors' shapes and device."""
    values = [*vars(imagination).values(), *vars(weights.rollout).values()]
    settings = [value for value in values if isinstance(value, (str, bool, float))]
    shapes = [(tensor.shape, tensor.device) for tensor in _tensors(weights, imagination)]
    return [imagination.batch_size, weights.form, *settings, *shapes]
