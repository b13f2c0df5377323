"""A model and a task small enough for whole runs within a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from planet.config import (
    Config,
    EnvironmentConfig,
    ImaginationConfig,
    ModelConfig,
    PlannerConfig,
    TrainConfig,
)
from planet.models import WorldModel
from planet.protocols import Chunk

TINY = Config(
    environment=EnvironmentConfig(task="toy-reach", image_size=8, render_size=8, control_steps=4),
    model=ModelConfig(
        state_size=3,
        belief_size=5,
        hidden_size=7,
        encoder_channels=(4, 6),
        encoder_kernel=3,
        decoder="mlp",
        decoder_hidden=(9,),
        reward_layers=1,
        reward_hidden=8,
    ),
    planner=PlannerConfig(horizon=2, candidates=8, iterations=1, topk=3),
    imagination=ImaginationConfig(backend="reference"),
    train=TrainConfig(
        episodes=5,
        seed_episodes=2,
        initial_updates=4,
        updates_per_episode=3,
        batch_size=3,
        chunk_length=4,
        free_nats=1.0,
        evaluation_interval=2,
        evaluation_episodes=1,
    ),
)


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
