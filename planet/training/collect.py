"""Plays in an environment, one whole episode at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from planet.config import Config
from planet.protocols import Policy, Spec
from planet.replay import Episode
from planet.training.checked_environment import CheckedEnvironment, EpisodeError
from planet.training.environment_steps import simulated_steps
from planet.training.schedule import next_part
from planet.training.seeds import environment_seed, policy_seed

__all__ = ["Environment", "EpisodeError", "collect_episode", "run_episode", "try_out"]


class Environment(Protocol):
    """Names the part of `gymnasium.Env` that is used; see `planet.training.check_environment`."""

    @property
    def action_space(self) -> Any:
        """Box [A], bounded."""

    @property
    def observation_space(self) -> Any:
        """Box uint8 [h, w, 3 * frames], Box of floats [V], or a Dict of such."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; returns the first observation and an info."""

    def step(self, action: Any, /) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Acts; returns observation, reward, terminated, truncated and an info."""


def run_episode(
    environment: Environment,
    policy: Policy,
    seed: int,
    *,
    explore: bool = False,
    metadata: dict[str, Any] | None = None,
    on_step: Callable[[float], None] | None = None,
    name: str = "episode",
) -> Episode:
    """Plays one episode to its end.

    Args:
      environment: what to act in.
      policy: reset for one row; it sees the newest observation by name.
      seed: of the environment's reset.
      explore: whether the policy acts as while collecting.
      metadata: JSON values kept with the episode; its `action_repeat` (1 without it) counts
        `environment_steps`, which are kept, too.
      on_step: called after every step with the reward so far.
      name: of the episode, for errors.

    Returns:
      Episode with N + 1 entries; index 0 is the reset's. At most the last entry of `terminated` is
      True: where time ran out, none is.

    Raises:
      EpisodeError: the environment fails, or returns what its spaces and Gymnasium's rules do not
        allow; the message names the episode, its seed and the step.
    """
    checked = CheckedEnvironment(environment, f"{name}, seed {seed}")
    observation = checked.reset(seed)
    observations, rewards, total = [observation], [0.0], 0.0
    actions = [np.zeros(environment.action_space.shape, np.float32)]
    terminated = truncated = False
    info: Any = {}
    while not (terminated or truncated):
        # Copies: an environment or a policy may hand out, or change, the same memory every time.
        seen = {name: array.copy() for name, array in observation.items()}
        action = np.array(policy.act(seen, explore), np.float32)
        observation, reward, terminated, truncated, info = checked.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        total += reward
        if on_step is not None:
            on_step(total)
    kept = {"seed": seed, **(metadata or {})}
    repeat = kept.get("action_repeat", 1)
    kept["environment_steps"] = simulated_steps(info, len(rewards) - 1, repeat)
    if isinstance(diverged := info.get("physics_diverged"), (bool, np.bool_)) and diverged:
        kept["physics_diverged"] = True
    ended = np.zeros(len(rewards), np.bool_)
    ended[-1] = terminated
    return Episode(
        observation={name: np.stack([o[name] for o in observations]) for name in observation},
        action=np.stack(actions),
        reward=np.asarray(rewards, np.float32),
        terminated=ended,
        metadata=kept,
    )


def collect_episode(
    environment: Environment,
    policy: Policy,
    config: Config,
    number: int,
    repeat: int,
    on_step: Callable[[float], None],
) -> Episode:
    """Plays the episode of a run that follows `number` others, with exploration.

    Its seeds derive from the run's; its metadata tell task, `repeat`, rendering and source,
    "random" or "agent".

    Raises:
      EpisodeError: as `run_episode`.
    """
    seed, planned = config.train.seed, next_part(config.train, number) == "planned"
    policy.reset(policy_seed(seed, number, planned))
    start = environment_seed(seed, number, evaluation=False)
    source = "agent" if planned else "random"
    metadata: dict[str, Any] = {
        "source": source,
        "task": config.environment.task,
        "action_repeat": repeat,
    }
    if rendering := config.environment.rendering:
        metadata["rendering"] = rendering
    return run_episode(
        environment, policy, start, explore=True, metadata=metadata, on_step=on_step,
        name=f"episode {number + 1}",
    )  # fmt: skip


def try_out(policy: Policy, spec: Spec) -> None:
    """Acts once on a blank observation, so that what is missing here fails early."""
    policy.reset()
    policy.act({name: np.zeros(shape, dtype) for name, (dtype, shape) in spec.observation.items()})
