"""Settings of a run that is over within a second, and all settings one by one."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
from small_models import SMALL

from planet.config import (
    CEMConfig,
    Config,
    EnvironmentConfig,
    ImaginationConfig,
    TrainConfig,
)
from planet.protocols import Spec

TINY = Config(
    environment=EnvironmentConfig(task="toy-reach", image_size=8, render_size=8, control_steps=4),
    model=SMALL,
    planner=CEMConfig(horizon=2, candidates=8, iterations=1, topk=3),
    imagination=ImaginationConfig(backend="reference"),
    train=TrainConfig(
        backend="reference",
        episodes=5,
        seed_episodes=2,
        initial_updates=4,
        updates_per_episode=3,
        batch_size=3,
        chunk_length=4,
        free_nats=1.0,
        evaluation_interval=2,
        evaluation_episodes=1,
        checkpoint_interval=1,
    ),
)


def pixel_spec(size: int, actions: int = 2) -> Spec:
    """Describes an environment of pictures whose actions lie in [-1, 1]."""
    high = np.ones(actions, np.float32)
    return Spec({"image": (np.uint8, (size, size, 3))}, -high, high)


SECTIONS = tuple(field.name for field in dataclasses.fields(Config))


def fields() -> list[tuple[str, str]]:
    return [
        (section, field.name)
        for section in SECTIONS
        for field in dataclasses.fields(getattr(Config(), section))
    ]


def changed(config: Config, field: str, value: object) -> Config:
    """`config` with one field, "section.name", set."""
    section, name = field.split(".")
    part = replace(getattr(config, section), **{name: value})
    return replace(config, **{section: part})
