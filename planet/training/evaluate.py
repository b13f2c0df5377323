"""Scores of policies on the same noise-free evaluation episodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from planet.agent import Agent
from planet.atomic import atomic_write
from planet.config import Config
from planet.replay import Episode
from planet.training.action_box import ActionBox
from planet.training.collect import (
    Environment,
    Policy,
    agent_policy,
    random_policy,
    run_episode,
    zero_policy,
)
from planet.training.initial_model import make_agent, make_world_model
from planet.training.progress import Progress, guarded
from planet.training.run import Run
from planet.training.seeds import evaluation_seeds

MakePolicy = Callable[[int], Policy]
"""A policy at the start of an episode, for the seed of its random numbers."""


@dataclass(frozen=True)
class Score:
    """Returns of one policy, in environment reward units.

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
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def standard_error(self) -> float:
        """Of the mean, from the sample's spread (n - 1); 0 for a single episode."""
        count = len(self.returns)
        return float(np.std(self.returns, ddof=1) / count**0.5) if count > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "environment_steps": self.environment_steps,
            "policy": self.policy,
            "mean": self.mean,
            "standard_error": self.standard_error,
            "returns": list(self.returns),
        }


def agent_maker(agent: Agent) -> MakePolicy:
    """The agent without exploration noise."""
    return lambda seed: agent_policy(agent, seed, explore=False)


def baselines(config: Config, actions: ActionBox) -> dict[str, MakePolicy]:
    """What a trained agent must beat: random actions, no actions, and planning without learning.

    Args:
      config: of the run; the untrained planner starts from the run's own initial world model.
      actions: the box of the environment.
    """
    model = make_world_model(config, actions.size)
    untrained = make_agent(config, model, actions)
    return {
        "random actions": lambda seed: random_policy(actions, seed),
        "zero actions": lambda seed: zero_policy(actions),
        "untrained planner": agent_maker(untrained),
    }


def play(
    environment: Environment,
    make_policy: MakePolicy,
    episodes: int,
    seed: int,
    progress: Progress | None = None,
    name: str = "agent",
) -> list[Episode]:
    """Plays evaluation episodes; no training episode ever has their seeds.

    Episode i is the one that the trainer of a run with this seed evaluates as its i-th.

    Args:
      environment: what to act in.
      make_policy: called at the start of every episode.
      episodes: how many.
      seed: of the evaluation.
      progress: told of every step.
      name: of the policy, for progress.

    Returns:
      The episodes, in order.

    Raises:
      ValueError: fewer than one episode.
      EpisodeError: the environment fails or breaks its promises.
    """
    if episodes < 1:
        raise ValueError(f"episodes: expected at least 1, got {episodes}")
    report = guarded(progress)
    played: list[Episode] = []
    steps = 0
    for index in range(episodes):
        report.start(f"{name}, episode {index + 1}/{episodes}", steps)
        start, policy_seed = evaluation_seeds(seed, index)
        episode = run_episode(
            environment,
            make_policy(policy_seed),
            start,
            on_step=lambda total: report.advance(episode_return=total),
            name=f"{name}, episode {index + 1}",
        )
        report.finish()
        played.append(episode)
        steps = max(steps, episode.length - 1)
    return played


def score(policy: str, episodes: Sequence[Episode], environment_steps: int = 0) -> Score:
    """The returns of played episodes, by a policy that was learned from so many steps."""
    return Score(policy, tuple(episode.total_reward for episode in episodes), environment_steps)


def score_table(scores: Sequence[Score]) -> str:
    """One line per policy: environment steps, name, mean, standard error, every return."""
    width = max(len("policy"), *(len(score.policy) for score in scores))
    lines = [f"environment steps  {'policy':{width}}     mean  +- s.e.  returns"]
    for row in scores:
        returns = " ".join(f"{value:.1f}" for value in row.returns)
        start = f"{row.environment_steps:17,}  {row.policy:{width}}"
        lines.append(f"{start}  {row.mean:7.1f}  {row.standard_error:7.1f}  {returns}")
    return "\n".join(lines)


def write_scores(path: Path, run: Run, seed: int, scores: Sequence[Score]) -> None:
    """Writes the scores with what is needed to repeat them, as JSON, atomically."""
    config = run.config
    content = {
        "environment_steps": run.environment_steps,
        "task": config.environment.task,
        "episodes_collected": run.episodes,
        "updates": run.updates,
        "evaluation_seed": seed,
        "scores": [score.to_dict() for score in scores],
        "config": config.to_dict(),
    }
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
