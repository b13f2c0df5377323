"""An imagination in memory that stays where it is, as a CUDA graph reads it."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from planet.ops import fused
from planet.planning import Imagination
from planet.planning.box import Box


class StaticImagination:
    """Holds a copy of an imagination, into which those of newer snapshots are written.

    What it copies, and `RolloutWeights` that others hold, are never written.

    Attributes:
      imagination: the copy. Its weights are no snapshot: they change in `write`.
    """

    def __init__(self, imagination: Imagination) -> None:
        own = {
            "weights": replace(imagination.weights),
            "box": Box(**{name: bound.clone() for name, bound in vars(imagination.box).items()}),
        }
        self.imagination = copy.copy(imagination)
        for name, value in own.items():
            object.__setattr__(self.imagination, name, value)  # frozen

    def holds(self, newer: Imagination) -> bool:
        """Whether another imagination differs in its latent and in numbers of tensors alone."""
        return _form(newer) == _form(self.imagination)

    @torch.no_grad()
    def write(self, newer: Imagination) -> None:
        """Takes over the tensors of an imagination that it `holds`.

        They are written by the current stream, which is waited for where kernels packed them.
        Whatever reads the old ones has finished, on every stream.
        """
        torch._foreach_copy_(_tensors(self.imagination), _tensors(newer))
        if newer.backend == "fused":
            fused.repack(self.imagination.weights, newer.weights)


def _tensors(imagination: Imagination) -> list[Tensor]:
    box = imagination.box
    named = imagination.weights.named_tensors()
    return [*named.values(), box.low, box.high, box.middle, box.half_width]


def _form(imagination: Imagination) -> list[object]:
    """Lists what a graph has in its kernels: all settings, and the tensors' shapes and device."""
    values = [*vars(imagination).values(), *vars(imagination.weights).values()]
    settings = [value for value in values if isinstance(value, (str, bool, float))]
    shapes = [(tensor.shape, tensor.device) for tensor in _tensors(imagination)]
    return [imagination.batch_size, *settings, *shapes]
