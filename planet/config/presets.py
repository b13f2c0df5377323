"""Names whole sets of settings: `paper`, `official`, `small`, and the rungs of a ladder.

The rungs are the versions of model-based reinforcement learning in Levine's course CS 285. They
have equal numbers of episodes and updates:

    v0.5    random episodes, one fit, plans are executed open loop
    v1.0    by turns: plans executed open loop are collected, and the model is fitted to all
    v1.5    the same, and the agent plans anew at every step: model-predictive control

Open loop is a plan of H steps at a time, as a plan does not reach to the end of an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

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
            vector_hidden=(100,), reward_layers=1, reward_hidden=100,
        ),
        planner=CEMConfig(candidates=300, iterations=5, topk=30),
        train=TrainConfig(
            episodes=37, seed_episodes=30, initial_updates=2500, updates_per_episode=500,
            batch_size=20, chunk_length=20, learning_rate=2e-3,
            image_weight=4.0,  # (64 / 32)^2: as much weight as the paper's images have
            vector_weight=100.0,  # with 1, swingup from vectors returns half as much
            reward_weight=100.0, free_nats=1.0, evaluation_interval=3, evaluation_episodes=2,
            checkpoint_interval=1,  # 500 updates take ten seconds, a checkpoint no time
            threads=1,  # a second one costs more than it brings
        ),
    )  # fmt: skip


Overrides = Mapping[str, Mapping[str, Any]]

OBSERVED: Overrides = {"environment": {"observe": "vectors"}}
"""Changes to `small` in what the rungs of the ladder observe, by section and name."""

_SEEDS, _EPISODES = 10, 50
_FIRST, _EACH = 1000, 125  # updates after the seed episodes, and after every later one


def v0_5(task: str = "cartpole-swingup", observed: Overrides = OBSERVED) -> Config:
    """Fits a model once, to random episodes, and executes plans open loop."""
    base = v1_0(task, observed)
    updates = _FIRST + _EACH * (_EPISODES - _SEEDS)
    train = replace(base.train, collect="random", seed_episodes=_EPISODES, initial_updates=updates)
    return replace(base, train=train)


def v1_0(task: str = "cartpole-swingup", observed: Overrides = OBSERVED) -> Config:
    """Collects by plans that it executes open loop, and fits the model again and again."""
    base = v1_5(task, observed)
    return replace(base, planner=replace(base.planner, execute=base.planner.horizon))


def v1_5(task: str = "cartpole-swingup", observed: Overrides = OBSERVED) -> Config:
    """Plans at every step: `small` by the ladder's numbers of episodes and updates."""
    base = small(task).with_overrides(observed)
    train = replace(
        base.train, episodes=_EPISODES, seed_episodes=_SEEDS, initial_updates=_FIRST,
        updates_per_episode=_EACH, evaluation_interval=10, evaluation_episodes=5,
    )  # fmt: skip
    return replace(base, train=train)


PRESETS: dict[str, Callable[..., Config]] = {
    "paper": paper,
    "official": official,
    "small": small,
    "v0.5": v0_5,
    "v1.0": v1_0,
    "v1.5": v1_5,
}
"""Sets of settings by name; each takes a task, and has one of its own."""
