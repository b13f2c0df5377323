"""A pixel task in numpy alone: steer a point to a target. For tests and quick starts."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from planet.envs.checks import check_action, check_seed
from planet.envs.pixel_env import Observation, PixelEnv
from planet.errors.checks import check_choice
from planet.errors.scalars import check_int

_SPEED = 0.1  # of the picture's side, per control step at full action
_MARGIN = 0.12  # the points stay this far from the picture's edge
_HALF_REWARD = 0.2  # distance, in sides, at which the reward is one half
_BACKGROUND = (16.0, 20.0, 48.0)
_TARGET, _TARGET_RADIUS = (40.0, 200.0, 80.0), 0.12
_POINT, _POINT_RADIUS = (250.0, 90.0, 60.0), 0.07


class ToyReachEnv(PixelEnv):
    """A red disc to be steered onto a green one; everything that matters is in the picture.

    Observation: uint8 [image_size, image_size, 3]. Action: float32 [2] in [-1, 1], velocity to the
    right and down. Reward of a control step: 1 / (1 + (d / 0.2)^2) at distance d, in (0, 1],
    summed over the repeat. Episodes are truncated after `control_steps` control steps.

    Args:
      image_size: side of the observation in pixels.
      action_repeat: control steps per agent step, R.
      control_steps: length of an episode in control steps.
      seed: of the first episode, when `reset` gets none.
      render_mode: "rgb_array" or None; `render` returns the frame in both cases.

    Raises:
      ValueError: an argument is out of range; the message names it.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        *,
        image_size: int = 32,
        action_repeat: int = 1,
        control_steps: int = 50,
        seed: int | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        size = check_int("image_size", image_size, 1)
        self.action_repeat = check_int("action_repeat", action_repeat, 1)
        self.control_steps = check_int("control_steps", control_steps, 1)
        self.render_mode = render_mode
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self._grid = (np.arange(size) + 0.5) / size
        super().reset(seed=check_seed(seed))
        self._point = self._target = np.full(2, 0.5)
        self._steps = 0
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode with the point and the target anywhere.

        Args:
          seed: at least 0; None goes on with `np_random` as it stands.
          options: none are known.

        Returns:
          the observation [image_size, image_size, 3] and an info dict.
        """
        super().reset(seed=check_seed(seed))
        self._point, self._target = self.np_random.uniform(_MARGIN, 1.0 - _MARGIN, (2, 2))
        self._steps, self._running = 0, True
        return self.render(), {"reward_sum": 0.0, "control_steps": 0, "physics_diverged": False}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Moves the point for `action_repeat` control steps, or fewer where the episode ends.

        Args:
          action: [2], finite, in [-1, 1].

        Returns:
          observation, sum of the rewards, terminated (never), truncated, and an info dict with
          `reward_sum`, `control_steps` (of this episode so far) and `physics_diverged` (never).

        Raises:
          ValueError: the action has another shape, or is not finite, or is out of bounds.
          RuntimeError: the episode has ended, or none was started.
        """
        reward, terminated, truncated, info = self.simulate(action)
        return self.observe(), reward, terminated, truncated, info

    def simulate(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Does what `step` does before it draws, so that the two can be timed apart."""
        if not self._running:
            raise RuntimeError("step: expected a running episode; call reset first")
        velocity = _SPEED * check_action(action, 2)
        reward = 0.0
        for _ in range(min(self.action_repeat, self.control_steps - self._steps)):
            self._point = np.clip(self._point + velocity, _MARGIN, 1.0 - _MARGIN)
            distance = float(np.linalg.norm(self._point - self._target))
            reward += 1.0 / (1.0 + (distance / _HALF_REWARD) ** 2)
            self._steps += 1
        truncated = self._steps >= self.control_steps
        self._running = not truncated
        info = {"reward_sum": reward, "control_steps": self._steps, "physics_diverged": False}
        return reward, False, truncated, info

    def observe(self) -> Observation:
        """Draws the present state: the other half of `step`, uint8 [image_size, image_size, 3]."""
        return self.render()

    def render(self) -> Observation:
        """Returns the present frame, uint8 [image_size, image_size, 3]."""
        size = len(self._grid)
        frame = np.empty((size, size, 3))
        frame[:] = _BACKGROUND
        self._draw(frame, self._target, _TARGET_RADIUS, _TARGET)
        self._draw(frame, self._point, _POINT_RADIUS, _POINT)
        return np.rint(frame).astype(np.uint8)

    def _draw(
        self,
        frame: NDArray[np.float64],
        centre: NDArray[np.float64],
        radius: float,
        colour: tuple[float, float, float],
    ) -> None:
        """Blends a disc whose edge is one pixel wide, so that small moves change the picture."""
        columns, rows = self._grid[None, :] - centre[0], self._grid[:, None] - centre[1]
        inside = radius - np.hypot(columns, rows)
        cover = np.clip(inside * len(self._grid) + 0.5, 0.0, 1.0)[..., None]
        frame += cover * (np.asarray(colour) - frame)
