"""Random snapshots and inputs for tests: any sizes, any scale, equal for equal seeds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from planet.latent import LatentState
from planet.noise import Noise
from planet.protocols import Plan
from planet.weights.random import random_tensors
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import Sizes

PAPER = Sizes(belief=200, state=30, action=6, hidden=200, reward=(200, 200))
PRESET_SIZES = {
    "paper": PAPER,
    "official": replace(PAPER, reward=(300, 300, 300)),
    "small": Sizes(belief=100, state=20, action=6, hidden=100, reward=(100,)),
}
TINY = Sizes(belief=5, state=3, action=2, hidden=7, reward=(6, 4))
TINY_SSM = replace(TINY, belief=0)


@dataclass(frozen=True)
class Problem:
    """A snapshot and start latents, with makers of what fits, and calls of the ops with it."""

    weights: RolloutWeights
    latent: LatentState
    generator: torch.Generator = field(repr=False)

    @property
    def batch(self) -> int:
        """B."""
        return self.latent.belief.shape[0]

    def actions(self, horizon: int, candidates: int) -> Tensor:
        """Uniform in [-1, 1), [H, B, J, A]."""
        shape = (horizon, self.batch, candidates, self.weights.action_size)
        return torch.rand(shape, generator=self.generator) * 2 - 1

    def noise(self, horizon: int, candidates: int) -> Tensor:
        """Standard normals [H, B, J, S]."""
        shape = (horizon, self.batch, candidates, self.weights.state_size)
        return torch.randn(shape, generator=self.generator)

    def distribution(self, horizon: int) -> tuple[Tensor, Tensor]:
        """Mean 0 and stddev 1, [H, B, A]."""
        mean = torch.zeros(horizon, self.batch, self.weights.action_size)
        return mean, torch.ones_like(mean)

    def returns(
        self, ops: ModuleType, actions: Tensor, noise: Noise | Tensor | None, **how: Any
    ) -> Tensor:
        """Returns [B, J] of a backend."""
        returns: Tensor = ops.rollout_returns(self.weights, self.latent, actions, noise, **how)
        return returns

    def plan(
        self, ops: ModuleType, horizon: int = 5, start: tuple[Tensor, Tensor] | None = None,
        **settings: Any,
    ) -> Plan:  # fmt: skip
        """A plan of a backend from mean and stddev, else 0 and 1; small unless settings differ."""
        mean, stddev = start or self.distribution(horizon)
        settings = {"seed": 1, "candidates": 40, "topk": 6, "iterations": 2} | settings
        plan: Plan = ops.cem_plan(self.weights, self.latent, mean, stddev, **settings)
        return plan

    def rows(self, rows: slice) -> Problem:
        """Some problems of the batch alone."""
        latent = LatentState(self.latent.belief[rows], self.latent.state[rows])
        return replace(self, latent=latent)


def make_weights(
    sizes: Sizes = TINY,
    *,
    seed: int = 0,
    scale: float = 1.0,
    activation: str = "relu",
    stddev: str = "add",
    min_stddev: float | None = None,
) -> RolloutWeights:
    """A random snapshot; a clamped stddev is clamped at 0.7, near softplus of these weights."""
    tensors = random_tensors(sizes, torch.Generator().manual_seed(seed), scale)
    return RolloutWeights(
        transition="rssm" if sizes.belief else "ssm",
        **tensors,
        activation=activation,
        stddev=stddev,
        min_stddev=(0.7 if stddev == "clamp" else 0.1) if min_stddev is None else min_stddev,
    )


def make_problem(
    sizes: Sizes = TINY,
    batch: int = 2,
    *,
    seed: int = 0,
    scale: float = 1.0,
    activation: str = "relu",
    stddev: str = "add",
    candidates: int | None = None,
) -> Problem:
    """A random snapshot and starts [B, D], [B, S]; with `candidates` [B, J, D], [B, J, S]."""
    generator = torch.Generator().manual_seed(seed + 1_000_003)
    rows = (batch,) if candidates is None else (batch, candidates)
    belief = torch.rand(*rows, sizes.belief, generator=generator) * 1.6 - 0.8
    state = torch.randn(*rows, sizes.state, generator=generator)
    weights = make_weights(sizes, seed=seed, scale=scale, activation=activation, stddev=stddev)
    return Problem(weights, LatentState(belief, state), generator)
