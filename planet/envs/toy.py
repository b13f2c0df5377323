"""Shows a task made of numpy alone, for tests and quick starts: steer a point to a target."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from planet.envs.checks import check_action
from planet.envs.observations import Observations, Picture, Vectors
from planet.envs.task_env import TaskEnv, numbers

_SPEED = 0.1  # of the picture's side, per control step at full action
_MARGIN = 0.12  # the points stay this far from the picture's edge
_HALF_REWARD = 0.2  # distance, in sides, at which the reward is one half
_BACKGROUND = (16.0, 20.0, 48.0)
_TARGET, _TARGET_RADIUS = (40.0, 200.0, 80.0), 0.12
_POINT, _POINT_RADIUS = (250.0, 90.0, 60.0), 0.07


class ToyReachEnv(TaskEnv):
    """Asks for a red disc to be steered onto a green one; all that matters is in the picture.

    Picture: uint8 [image_size, image_size, 3]. Vector: float32 [4], from 0 to 1, the point and then
    the target, each to the right and down in sides of the picture. Action: float32 [2] in [-1, 1],
    velocity to the right and down. Reward of a control step: 1 / (1 + (d / 0.2)^2) at distance d,
    in (0, 1], summed over the repeat. Episodes are truncated after `control_steps` control steps.

    Arguments are those of `planet.envs.make`, and `render_mode`: "rgb_array" or None; `render`
    returns the frame in both cases.

    Raises:
      ValueError: an argument is out of range; the message names it.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        action_repeat: int = 1,
        control_steps: int = 50,
        observe: str = "pixels",
        frames: int = 1,
        seed: int | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        shown = Observations(observe, frames, image_size)
        super().__init__(shown, action_repeat, control_steps, seed, render_mode)
        self.observation_space = shown.space({"vector": numbers(4, 0.0, 1.0)})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._grid = (np.arange(image_size) + 0.5) / image_size
        self._point = self._target = np.full(2, 0.5)

    def start(self, seed: int | None) -> dict[str, Any]:
        """Puts the point and the target anywhere; see `TaskEnv`."""
        super().start(seed)
        self._point, self._target = self.np_random.uniform(_MARGIN, 1.0 - _MARGIN, (2, 2))
        self._steps, self._running = 0, True
        return self._info(0.0)

    def simulate(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Moves the point, right and down; see `TaskEnv`."""
        self._check_running()
        velocity = _SPEED * check_action(action, 2)
        reward = 0.0
        for _ in range(min(self.action_repeat, self.control_steps - self._steps)):
            self._point = np.clip(self._point + velocity, _MARGIN, 1.0 - _MARGIN)
            distance = float(np.linalg.norm(self._point - self._target))
            reward += 1.0 / (1.0 + (distance / _HALF_REWARD) ** 2)
            self._steps += 1
        truncated = self._steps >= self.control_steps
        self._running = not truncated
        return reward, False, truncated, self._info(reward)

    def picture(self) -> Picture:
        """Draws the present state; see `TaskEnv`."""
        return self.render()

    def vectors(self) -> Vectors:
        """Returns point and target as `vector` [4]; see `TaskEnv`."""
        return {"vector": np.concatenate([self._point, self._target]).astype(np.float32)}

    def render(self) -> Picture:
        """Returns the present frame, uint8 [image_size, image_size, 3]."""
        size = len(self._grid)
        frame = np.empty((size, size, 3))
        frame[:] = _BACKGROUND
        for centre, radius, colour in (
            (self._target, _TARGET_RADIUS, _TARGET),
            (self._point, _POINT_RADIUS, _POINT),
        ):
            columns, rows = self._grid[None, :] - centre[0], self._grid[:, None] - centre[1]
            inside = radius - np.hypot(columns, rows)
            # An edge one pixel wide, so that small moves change the picture.
            cover = np.clip(inside * size + 0.5, 0.0, 1.0)[..., None]
            frame += cover * (np.asarray(colour) - frame)
        return np.rint(frame).astype(np.uint8)
