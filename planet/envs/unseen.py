"""Runs a task without drawing it, for what needs no pixels."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from planet.envs.pixel_env import Observation, PixelEnv


class Unseen(gymnasium.Wrapper[Observation, NDArray[np.float32], Observation, NDArray[np.float32]]):
    """Plays the same episodes as an environment, with the same rewards, and draws none of them.

    Observation: uint8 [1, 1, 3], black. Nothing else differs.

    Args:
      environment: a pixel environment, as `planet.envs.make` makes it.
    """

    def __init__(self, environment: PixelEnv) -> None:
        super().__init__(environment)
        self._environment = environment
        self.observation_space = gymnasium.spaces.Box(0, 255, (1, 1, 3), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; see `PixelEnv.reset`."""
        return _blank(), self._environment.start(seed)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Acts; see `PixelEnv.step`."""
        reward, terminated, truncated, info = self._environment.simulate(action)
        return _blank(), reward, terminated, truncated, info


def _blank() -> Observation:
    return np.zeros((1, 1, 3), np.uint8)
