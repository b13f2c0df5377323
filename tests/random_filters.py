"""Random snapshots of whole agents and what a filter step takes, equal for equal seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from random_weights import TINY, make_weights
from torch import Tensor

from planet.latent import LatentState
from planet.weights.filter_weights import FilterWeights
from planet.weights.shapes import EncoderSizes, Sizes, filter_arguments

TINY_ENCODER = EncoderSizes(image=9, bits=5, channels=(4, 3), kernels=(4, 2), strides=(2, 1))


def filter_tensors(
    sizes: Sizes = TINY, encoder: EncoderSizes = TINY_ENCODER, seed: int = 0, scale: float = 1.0
) -> dict[str, Any]:
    """Arguments of `FilterWeights` but the rollout: uniform within scale / sqrt(inputs)."""
    generator = torch.Generator().manual_seed(seed + 2_000_003)
    drawn = {
        name: (torch.rand(shape, generator=generator) * 2 - 1) * scale / inputs(shape)
        for name, (_, shape) in encoder.shapes(sizes).items()
    }
    numbers = {"image_size": encoder.image, "bit_depth": encoder.bits}
    return filter_arguments(drawn) | {"encoder_strides": list(encoder.strides)} | numbers


def inputs(shape: tuple[int, ...]) -> float:
    """sqrt(inputs) of a weight; of a bias 4."""
    return math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 4.0


@dataclass(frozen=True)
class FilterProblem:
    """A snapshot, and the arguments of a step of B rows."""

    weights: FilterWeights
    latent: LatentState
    action: Tensor
    observation: Tensor
    seeds: Tensor

    def step(self, ops: ModuleType) -> LatentState:
        """A step of a backend."""
        latent: LatentState = ops.filter_step(
            self.weights, self.latent, self.action, self.observation, self.seeds
        )
        return latent

    def rows(self, rows: slice | list[int]) -> FilterProblem:
        """Some rows of the batch."""
        latent = LatentState(self.latent.belief[rows], self.latent.state[rows])
        parts = (part[rows] for part in (self.action, self.observation, self.seeds))
        return FilterProblem(self.weights, latent, *parts)

    def after(self, latent: LatentState) -> FilterProblem:
        """Starts the step from another latent."""
        return replace(self, latent=latent)


def make_filter(
    sizes: Sizes = TINY, encoder: EncoderSizes = TINY_ENCODER, *, seed: int = 0, **how: Any
) -> FilterWeights:
    """A random snapshot; how: scale, activation, stddev, min_stddev."""
    tensors = filter_tensors(sizes, encoder, seed, how.get("scale", 1.0))
    return FilterWeights(rollout=make_weights(sizes, seed=seed, **how), **tensors)


def make_filter_problem(
    sizes: Sizes = TINY, encoder: EncoderSizes = TINY_ENCODER, batch: int = 2, *, seed: int = 0,
    **how: Any,
) -> FilterProblem:  # fmt: skip
    """A random snapshot and step; one seed has all bits."""
    return inputs_for(make_filter(sizes, encoder, seed=seed, **how), batch, seed)


def inputs_for(weights: FilterWeights, batch: int, seed: int = 0) -> FilterProblem:
    """A random step of B rows for a snapshot."""
    generator, sizes = torch.Generator().manual_seed(seed + 3_000_003), weights.rollout.sizes
    side = weights.image_size
    frames = torch.randint(
        0, 256, (batch, side, side, 3), generator=generator, dtype=torch.uint8
    )  # fmt: skip
    seeds = torch.randint(-(2**63), 2**63 - 1, (batch,), generator=generator)
    seeds[-1] = -1
    latent = LatentState(
        torch.rand(batch, sizes.belief, generator=generator) * 1.6 - 0.8,
        torch.randn(batch, sizes.state, generator=generator),
    )
    action = torch.rand(batch, sizes.action, generator=generator) * 2 - 1
    return FilterProblem(weights, latent, action, frames, seeds)
