"""Gives the tasks a specification that knows the length of an episode."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

Observation = NDArray[np.uint8]


class PixelEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """An environment that counts its own control steps and ends the episode after so many.

    Attributes:
      action_repeat: control steps per agent step, R.
      control_steps: length of an episode in control steps.
    """

    action_repeat: int
    control_steps: int
    _spec: EnvSpec | None = None

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
