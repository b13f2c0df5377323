"""Runs of the toy task for tests: a trainer, and what two runs have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from planet.config import Config
from planet.envs.toy import ToyReachEnv
from planet.models import WorldModel
from planet.replay import read_episode
from planet.systems.planet import build
from planet.training.learner import GradientLearner
from planet.training.metrics import read_metrics
from planet.training.trainer import Trainer


def make_trainer(
    config: Config, directory: Path, progress: Any = None, environment: Any = None, **options: Any
) -> Trainer:
    return Trainer(config, directory, environment or toy(), build, progress, **options)


def model_of(trainer: Trainer) -> WorldModel:
    assert isinstance(trainer.learner, GradientLearner)
    assert isinstance(trainer.learner.model, WorldModel)
    return trainer.learner.model


def toy() -> ToyReachEnv:
    return ToyReachEnv(image_size=8, control_steps=4)


def changed(config: Config, **train: object) -> Config:
    return replace(config, train=replace(config.train, **train))  # type: ignore[arg-type]


def timeless(directory: Path) -> list[dict[str, float]]:
    """Metrics without the times, which no two runs share."""
    return [
        {name: value for name, value in line.items() if "seconds" not in name}
        for line in read_metrics(directory)
    ]


def outcome(directory: Path) -> tuple[Any, ...]:
    """Metrics without times, episodes and parameters of a run's newest checkpoint."""
    from planet.checkpoint import load_checkpoint

    paths = sorted((directory / "episodes").glob("*.planet"))
    episodes = [read_episode(path).action.tolist() for path in paths]
    state = load_checkpoint(directory / "checkpoint.pt")
    learner = state["learner"]
    moments = [m for s in learner["optimizer"]["state"].values() for m in s.values()]
    return (
        timeless(directory),
        episodes,
        [t.tolist() for t in (*learner["model"].values(), *moments)],
    )


def finished(config: Config, directory: Path) -> tuple[Any, ...]:
    """Trains to the end, from where the directory stands; the outcome."""
    with make_trainer(config, directory) as trainer:
        trainer.run()
    assert all(torch.isfinite(p).all() for p in model_of(trainer).parameters())
    return outcome(directory)
