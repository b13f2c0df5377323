"""Plays evaluation episodes and sums up their returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from planet.errors.scalars import check_int
from planet.protocols import Policy
from planet.replay import Episode
from planet.training.collect import Environment, run_episode
from planet.training.progress import Progress, guarded
from planet.training.seeds import evaluation_seeds


@dataclass(frozen=True)
class Score:
    """Holds the returns of one policy, in environment reward units.

    Attributes:
      policy: name for tables.
      returns: one per episode.
      environment_steps: that the policy was learned from.
    """

    policy: str
    returns: tuple[float, ...]
    environment_steps: int = 0

    @property
    def mean(self) -> float:
        """Averages the returns."""
        return float(np.mean(self.returns))

    @property
    def standard_error(self) -> float:
        """Tells how uncertain the mean is, by the sample's spread (n - 1); 0 for one episode."""
        count = len(self.returns)
        return float(np.std(self.returns, ddof=1) / count**0.5) if count > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            "environment_steps": self.environment_steps, "policy": self.policy, "mean": self.mean,
            "standard_error": self.standard_error, "returns": list(self.returns),
        }  # fmt: skip


def play(
    environment: Environment,
    policy: Policy,
    episodes: int,
    seed: int,
    progress: Progress | None = None,
    name: str = "agent",
    *,
    steps: int = 0,
    on_step: Callable[[], None] | None = None,
) -> list[Episode]:
    """Plays evaluation episodes; no training episode ever has their seeds.

    Episode i is the one that the trainer of a run with this seed evaluates as its i-th. The policy
    is reset at the start of each and does not explore. Progress is told of every step, of the
    policy's `name`, and of the `steps` that an episode is expected to have.

    Raises:
      ValueError: fewer than one episode.
      EpisodeError: the environment fails or breaks its promises.
    """
    check_int("episodes", episodes, 1)
    report = guarded(progress)

    def after(total: float) -> None:
        report.advance(episode_return=total)
        if on_step is not None:
            on_step()

    played: list[Episode] = []
    for index in range(episodes):
        report.start(f"evaluate {name} {index + 1}/{episodes}", steps)
        start, policy_seed = evaluation_seeds(seed, index)
        policy.reset(policy_seed)
        episode_name = f"{name}, evaluation episode {index + 1}"
        played.append(run_episode(environment, policy, start, on_step=after, name=episode_name))
        report.finish()
        steps = max(steps, played[-1].length - 1)
    return played


def score(policy: str, episodes: list[Episode], environment_steps: int = 0) -> Score:
    """Sums up played episodes of a policy that was learned from so many steps."""
    return Score(policy, tuple(episode.total_reward for episode in episodes), environment_steps)
