"""Holds what the environments have in common: what they show, their step, their end."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from planet.envs.checks import check_seed
from planet.envs.observations import Observation, Observations, Picture, Vectors
from planet.errors.checks import check_choice
from planet.errors.scalars import check_int


class TaskEnv(gymnasium.Env[Observation, NDArray[np.float32]], ABC):
    """Counts its own control steps and ends the episode after so many.

    A task has `start`, the first half of `reset`, `simulate`, that of `step`, and `picture` and
    `vectors`, of which the second half of both makes the observation.

    Attributes:
      action_repeat: control steps per agent step, R.
      control_steps: length of an episode in control steps.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}
    _spec: EnvSpec | None = None

    def __init__(
        self,
        observations: Observations,
        action_repeat: int,
        control_steps: int,
        seed: int | None,
        render_mode: str | None,
    ) -> None:
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        self.action_repeat = check_int("action_repeat", action_repeat, 1)
        self.control_steps = check_int("control_steps", control_steps, 1)
        self.render_mode = render_mode
        super().reset(seed=check_seed(seed))
        self._observations = observations
        self._steps = 0
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; the same seed starts the same episode, pixel for pixel.

        Args:
          seed: at least 0; None goes on with `np_random` as it stands.
          options: none are known.

        Returns:
          the observation, of `observation_space`, and an info dict.

        Raises:
          RuntimeError: the task cannot start; see the task.
        """
        info = self.start(seed)
        return self.observe(), info

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Holds the action for `action_repeat` control steps, or fewer where the episode ends.

        Args:
          action: [A], finite, of `action_space`.

        Returns:
          observation, sum of the rewards, terminated, truncated, and an info dict with
          `reward_sum`, `control_steps` (of this episode so far) and `physics_diverged`.

        Raises:
          TypeError: the action is not made of real numbers.
          ValueError: the action has another shape, or is not finite, or is out of bounds.
          RuntimeError: the episode has ended, or none was started.
        """
        reward, terminated, truncated, info = self.simulate(action)
        return self.observe(), reward, terminated, truncated, info

    @abstractmethod
    def start(self, seed: int | None) -> dict[str, Any]:
        """Does what `reset` does before it observes."""
        super().reset(seed=check_seed(seed))
        self._observations.start()
        return self._info(0.0)

    @abstractmethod
    def simulate(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Does what `step` does before it observes, so that the two can be timed apart."""

    def observe(self) -> Observation:
        """Returns the newest observation: the other half of `step`, to be had once a step.

        It draws only where pictures are shown.
        """
        return self._observations.newest(self.picture, self.vectors)

    @abstractmethod
    def picture(self) -> Picture:
        """Draws the present state, uint8 [image_size, image_size, 3]."""

    @abstractmethod
    def vectors(self) -> Vectors:
        """Returns the task's own numbers in the present state, float32 [V] by name."""

    def _check_running(self) -> None:
        if not self._running:
            raise RuntimeError("step: expected a running episode; call reset first")

    def _info(self, reward: float, diverged: bool = False) -> dict[str, Any]:
        return {"reward_sum": reward, "control_steps": self._steps, "physics_diverged": diverged}

    @property
    def max_episode_steps(self) -> int:
        """Length of an episode in agent steps; the last one may hold fewer control steps."""
        return -(-self.control_steps // self.action_repeat)

    @property
    def spec(self) -> EnvSpec | None:
        """The specification that Gymnasium or `planet.envs.make` gave, with `max_episode_steps`.

        The ids are registered without that number: Gymnasium would end episodes by it, whatever
        the action repeat and the control steps are that an environment is made with.
        """
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and spec.max_episode_steps is None:
            spec = dataclasses.replace(spec, max_episode_steps=self.max_episode_steps)
        self._spec = spec


def numbers(size: int, low: float = -np.inf, high: float = np.inf) -> gymnasium.spaces.Box:
    """Returns the space of a vector, float32 [size]."""
    return gymnasium.spaces.Box(low, high, (size,), np.float32)
