"""Small models with random parameters, so that no term of an equation is zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from planet.config import ModelConfig
from planet.models import WorldModel

MakeModel = Callable[..., WorldModel]

SMALL = ModelConfig(
    state_size=3,
    belief_size=5,
    hidden_size=7,
    encoder_channels=(4, 6),
    encoder_kernel=3,
    decoder="mlp",
    decoder_hidden=(9,),
    reward_layers=2,
    reward_hidden=8,
)


@pytest.fixture
def make_model() -> MakeModel:
    """make_model(action_size=2, image_size=8, scale=0.5, **changes of ModelConfig)."""

    def make(
        action_size: int = 2, image_size: int = 8, scale: float = 0.5, **changes: object
    ) -> WorldModel:
        model = WorldModel(replace(SMALL, **changes), action_size, image_size)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        return model

    return make
