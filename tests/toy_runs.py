"""Runs of the toy task for tests: a trainer, what two runs have in common, who watches them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from planet.config import Config
from planet.envs.toy import ToyReachEnv
from planet.models import WorldModel
from planet.replay import read_episode
from planet.systems.planet import build
from planet.training.learner import GradientLearner
from planet.training.metrics import read_metrics
from planet.training.trainer import Trainer

NEWEST, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


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
    from planet.storage.checkpoint import load_checkpoint

    read = map(read_episode, sorted((directory / "episodes").glob("*.planet")))
    episodes = [(episode.action.tolist(), episode.reward.tolist()) for episode in read]
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


def content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(p.relative_to(directory)): p.read_bytes() for p in files if p.name != "run.lock"}


def refused(config: Config, directory: Path, match: str, error: Any = ValueError) -> None:
    """The trainer refuses the directory and leaves every file as it was."""
    before = content(directory)
    with pytest.raises(error, match=match):
        make_trainer(config, directory)
    assert content(directory) == before


class Recorder:
    """Counts every call and raises at chosen ones."""

    def __init__(
        self, raise_at: int | None = None, error: type[BaseException] | None = None
    ) -> None:
        self.calls: list[tuple[str, str]] = []
        self.messages: list[str] = []
        self.estimates: list[tuple[float, bool]] = []
        self.stage = ""
        self.raise_at, self.error = raise_at, error or KeyboardInterrupt

    def _called(self, what: str) -> None:
        self.calls.append((self.stage, what))
        if len(self.calls) - 1 == self.raise_at:
            raise self.error

    def start(self, stage: str, total: int) -> None:
        self.stage = stage
        self._called("start")

    def advance(self, **values: float) -> None:
        self._called("advance")

    def finish(self) -> None:
        self._called("finish")

    def remaining(self, seconds: float, whole: bool) -> None:
        self.estimates.append((seconds, whole))

    def message(self, text: str) -> None:
        self.messages.append(text)
        self._called("message")
