"""Small world models with random parameters, so that no term of an equation is zero; inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from planet.config import ModelConfig
from planet.models import WorldModel
from planet.protocols import Chunk, image_spec

SMALL = ModelConfig(
    state_size=3, belief_size=5, hidden_size=7, encoder_channels=(4, 6), encoder_kernel=3,
    decoder="mlp", decoder_hidden=(9,), reward_layers=1, reward_hidden=8,
)  # fmt: skip


def make_model(
    action_size: int = 2, image_size: int = 8, scale: float = 0.5, **changes: Any
) -> WorldModel:
    """A model of SMALL's sizes but for the changes; normal parameters of that stddev."""
    model = WorldModel(replace(SMALL, **changes), action_size, image_spec(image_size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


def frame(seed: int, *batch: int, size: int = 8) -> npt.NDArray[np.uint8]:
    """Noise, [..., size, size, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*batch, size, size, 3), np.uint8)


def make_chunk(steps: int = 4, batch: int = 3, seed: int = 0) -> Chunk:
    """Noise, uniform actions and normal rewards."""
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, batch, 8, 8, 3)
    return Chunk(
        {"image": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)},
        torch.rand(steps, batch, 2, generator=generator) * 2 - 1,
        torch.randn(steps, batch, generator=generator),
        torch.zeros(steps, batch, dtype=torch.bool),
    )
