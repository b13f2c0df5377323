"""Environment steps: what was simulated, through repeats, early ends, wrappers and resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from planet.config import Config, EnvironmentConfig
from planet.replay import read_episode
from planet.storage.checkpoint import load_checkpoint
from planet.systems.planet import build
from planet.training.environment_steps import action_repeat, simulated_steps
from planet.training.metrics import read_metrics
from planet.training.trainer import Trainer

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")
from gymnasium.wrappers import TimeLimit

from planet.envs.toy import ToyReachEnv
from planet.experiments.run import open_run


@pytest.mark.parametrize(
    ("counted", "expected"),
    [(7, 7), (np.int64(7), 7), (7.0, 7), (0, 0), (8, 8), (9, 8), (-1, 8), (7.5, 8), (None, 8),
     ("7", 8), (float("nan"), 8), (float("inf"), 8), ([7], 8)],
)  # fmt: skip
def test_the_environments_own_count_is_taken_where_it_is_possible(
    counted: object, expected: int
) -> None:
    assert simulated_steps({"control_steps": counted}, steps=4, repeat=2) == expected
    assert simulated_steps({}, steps=4, repeat=2) == 8


def test_action_repeat_is_the_environments_then_the_settings() -> None:
    toy = ToyReachEnv(image_size=8, action_repeat=3)
    settings = EnvironmentConfig(action_repeat=2)
    assert action_repeat(settings, toy) == 3
    assert action_repeat(settings, TimeLimit(toy, 5)) == 3
    assert action_repeat(settings, object()) == 2
    assert action_repeat(EnvironmentConfig(), object()) == 1
    assert action_repeat(settings, SimpleNamespace(action_repeat=np.int64(4))) == 4
    for bad in (0, -1, 2.5, "four", True, float("nan"), [2]):
        with pytest.raises((TypeError, ValueError), match="^action_repeat of the environment: exp"):
            action_repeat(settings, SimpleNamespace(action_repeat=bad))


@pytest.fixture
def repeated(tiny: Config) -> Config:
    """Four control steps per episode, three per action: 1 + 1 agent steps, 3 + 1 control steps."""
    return replace(tiny, environment=replace(tiny.environment, action_repeat=3, control_steps=4))


def make_trainer(config: Config, directory: Path) -> Trainer:
    config = replace(config, train=replace(config.train, chunk_length=2))
    toy = ToyReachEnv(image_size=8, action_repeat=3, control_steps=4)
    return Trainer(config, directory, toy, build)


def test_every_line_checkpoint_and_episode_counts_what_was_simulated(
    repeated: Config, tmp_path: Path
) -> None:
    with make_trainer(repeated, tmp_path) as trainer:
        trainer.run()
    lines = read_metrics(tmp_path)
    assert all(next(iter(line)) == "environment_steps" for line in lines)
    assert all(line["environment_steps"] == 4 * line["episodes"] for line in lines)
    for path in (tmp_path / "episodes").iterdir():
        metadata = read_episode(path).metadata
        assert (metadata["action_repeat"], metadata["environment_steps"]) == (3, 4)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["environment_steps"] == 20
    assert open_run(tmp_path).environment_steps == 20
    longer = replace(repeated, train=replace(repeated.train, episodes=6))
    resumed = make_trainer(longer, tmp_path)
    assert resumed.environment_steps == 20
    resumed.run()
    assert read_metrics(tmp_path)[-1]["environment_steps"] == 24
