"""A run of the toy task whose numbers are stored, as a program: prints them as JSON.

What computes is held fixed as far as PyTorch lets it be, so that processors do not differ: no
vector instructions of its own choice, MKL's compatible code, no oneDNN, no kernels of ours. See
`test_same_numbers.py`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from conftest import TINY
from toy_runs import finished, timeless

from planet.config import Config
from planet.ops.kernels import KERNELS
from planet.replay import read_episode

# Every term of the loss, every schedule and every source of random numbers takes part.
CONFIG = replace(
    TINY,
    planner=replace(TINY.planner, horizon=3, iterations=2),
    train=replace(
        TINY.train, episodes=3, initial_updates=200, updates_per_episode=100,
        overshooting_distance=3, overshooting_weight=0.5, overshooting_reward_weight=0.25,
        overshooting_observation_weight=0.1,
        global_prior_weight=0.1, learning_rate_warmup=50, exploration_ramp=4,
        exploration_min_stddev=0.1, sampling="recent", recent_draws=30, free_nats=0.05,
    ),
)  # fmt: skip


def numbers(config: Config, directory: Path) -> dict[str, Any]:
    """Metrics of a whole run, and a digest of what happened in each of its episodes."""
    finished(config, directory)
    paths = sorted((directory / "episodes").glob("*.planet"))
    return {"metrics": timeless(directory), "episodes": [digest(path) for path in paths]}


def digest(path: Path) -> str:
    """SHA-256 of an episode's frames, actions and rewards."""
    episode = read_episode(path)
    arrays = episode.observation["image"], episode.action, episode.reward
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


if __name__ == "__main__":
    torch.backends.mkldnn.enabled = False
    KERNELS.clear()
    torch.set_num_threads(1)
    json.dump(numbers(CONFIG, Path(sys.argv[1])), sys.stdout, indent=1)
