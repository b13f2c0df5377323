"""Names whole sets of settings: `paper`, `official` and `small`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planet.config import CEMConfig, Config, EnvironmentConfig, ModelConfig, TrainConfig


def paper(task: str = "cheetah-run") -> Config:
    """Follows Hafner et al. (ICML 2019; arXiv v5) with the official planner's rules."""
    return Config(environment=EnvironmentConfig(task=task))


def official(task: str = "cheetah-run") -> Config:
    """Follows google-research/planet at c04226b: its reward head, loader and schedule."""
    base = paper(task)
    return replace(
        base,
        model=replace(base.model, reward_layers=3, reward_hidden=300),
        # 5e7 sequence steps of 50 per update are 1e6 updates, 100 per episode.
        train=replace(
            base.train, episodes=10_000, sampling="recent", evaluation_interval=10,
            evaluation_episodes=1, checkpoint_interval=100,
        ),
    )  # fmt: skip


def small(task: str = "cheetah-run") -> Config:
    """Learns cheetah-run on two CPU cores in minutes, from 32x32 pixels with small networks."""
    own = task == "toy-reach" or task.startswith("gym:")  # these draw as they do
    render_size = 32 if own else 64
    return Config(
        environment=EnvironmentConfig(
            task=task, image_size=32, render_size=render_size, quality="fast"
        ),
        model=ModelConfig(
            state_size=20, belief_size=100, hidden_size=100, activation="elu",
            encoder_channels=(8, 16, 32), decoder="mlp", decoder_hidden=(200,),
            reward_layers=1, reward_hidden=100,
        ),
        planner=CEMConfig(candidates=300, iterations=5, topk=30),
        train=TrainConfig(
            episodes=37, seed_episodes=30, initial_updates=2500, updates_per_episode=500,
            batch_size=20, chunk_length=20, learning_rate=2e-3,
            image_weight=4.0,  # (64 / 32)^2: as much weight as the paper's images have
            reward_weight=100.0, free_nats=1.0, evaluation_interval=3, evaluation_episodes=2,
            checkpoint_interval=1,  # 500 updates take ten seconds, a checkpoint no time
            threads=1,  # a second one costs more than it brings
        ),
    )  # fmt: skip


PRESETS: dict[str, Callable[[str], Config]] = {"paper": paper, "official": official, "small": small}
