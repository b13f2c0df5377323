"""A model and a task small enough for whole runs within a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from settings import TINY

from planet.config import Config
from planet.models import WorldModel
from planet.protocols import Chunk


@pytest.fixture(scope="session")
def tiny() -> Config:
    return TINY


@pytest.fixture(scope="session")
def whole(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """Outcome of a run of these settings that nothing disturbs."""
    from toy_runs import finished

    return finished(tiny, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def make_model() -> Callable[..., WorldModel]:
    """make_model(scale=0.5, **changes of ModelConfig): random weights, two actions, 8x8 pixels."""

    def make(scale: float = 0.5, **changes: object) -> WorldModel:
        model = WorldModel(replace(TINY.model, **changes), 2, 8)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        return model

    return make


@pytest.fixture
def make_chunk() -> Callable[..., Chunk]:
    """make_chunk(steps=4, batch=3, seed=0): noise frames, actions and rewards."""

    def make(steps: int = 4, batch: int = 3, seed: int = 0) -> Chunk:
        generator = torch.Generator().manual_seed(seed)
        shape = (steps, batch, 8, 8, 3)
        return Chunk(
            {"image": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)},
            torch.rand(steps, batch, 2, generator=generator) * 2 - 1,
            torch.randn(steps, batch, generator=generator),
        )

    return make
