"""Shows a task of Gymnasium by pictures or vectors, with actions held and episodes that end."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from planet.envs.checks import check_action
from planet.envs.observations import Observations, Picture, Vectors
from planet.envs.seeding import unused_seed
from planet.envs.task_env import TaskEnv, numbers
from planet.envs.tasks import GYM_PREFIX
from planet.errors.scalars import check_int

_OTHERWISE = "make it with gymnasium.make, wrap it, and hand it to the trainer yourself"


class GymEnv(TaskEnv):
    """Shows a task of Gymnasium; an action is held for `action_repeat` control steps.

    Picture: what the task renders, averaged to uint8 [image_size, image_size, 3] by area; another
    shape than a square is squeezed into one, so that nothing is cut off. Vectors: an observation
    that is a Box of numbers of any shape is `vector`, float32 [V]; a Dict of such boxes has a
    vector for each of its names. Action: of the task's own box [A]. Reward: sum over the repeat,
    which ends with the episode. `terminated` and `truncated` are the task's.

    `np_random` decides every episode: `reset(seed=s)` starts the one that the task itself starts
    from s.

    Arguments are those of `planet.envs.make`, and `render_mode`: without pictures, "rgb_array" lets
    `render` draw.

    Raises:
      ValueError: an argument is out of range, Gymnasium does not know the task, or its spaces, its
        length or its drawing do not serve; the message says what helps.
      ImportError: a package of the task is missing.
    """

    def __init__(
        self,
        task: str,
        *,
        action_repeat: int = 1,
        image_size: int = 64,
        control_steps: int | None = None,
        observe: str = "pixels",
        frames: int = 1,
        seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        shown = Observations(observe, frames, image_size)
        if control_steps is not None:
            control_steps = check_int("control_steps", control_steps, 1)
        self.task = task
        self._made = _made(task, control_steps, "rgb_array" if shown.pictured else render_mode)
        _check_actions(task, self._made.action_space)
        limit = self._made.spec.max_episode_steps if self._made.spec else None
        if limit is None:
            raise ValueError(
                f"control_steps: expected a number for {task}, which has no time limit"
            )
        super().__init__(shown, action_repeat, limit, seed, render_mode)
        self._spaces = {} if observe == "pixels" else _spaces(task, self._made.observation_space)
        sizes = {name: int(np.prod(box.shape)) for name, box in self._spaces.items()}
        self.observation_space = shown.space({name: numbers(sizes[name]) for name in sizes})
        self.action_space: Any = self._made.action_space
        modes = {"rgb_array"} & {*self._made.metadata.get("render_modes", ())}
        fps = self._made.metadata.get("render_fps") or self.metadata["render_fps"]
        fps = max(1, round(fps / self.action_repeat))
        self.metadata = {"render_modes": [*modes], "render_fps": fps}
        self._last: Any = None

    def start(self, seed: int | None) -> dict[str, Any]:
        """Does what `reset` does before it observes; see `TaskEnv`."""
        super().start(seed)
        first = unused_seed(self.np_random.bit_generator)
        drawn = int(self.np_random.integers(2**31))
        self._last, info = self._made.reset(seed=drawn if first is None else first)
        self._steps, self._running = 0, True
        return {**info, **self._info(0.0)}

    def simulate(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Does what `step` does before it observes; see `TaskEnv`."""
        self._check_running()
        space = self.action_space
        values = check_action(action, space.shape[0], space.low, space.high)
        total, terminated, truncated = 0.0, False, False
        info: dict[str, Any] = {}
        for _ in range(self.action_repeat):
            given = values.astype(space.dtype)  # anew: a task may change what it gets
            self._last, reward, terminated, truncated, info = self._made.step(given)
            total += float(reward)
            self._steps += 1
            if terminated or truncated:
                break
        self._running = not (terminated or truncated)
        return total, bool(terminated), bool(truncated), {**info, **self._info(total)}

    def picture(self) -> Picture:
        """Draws the present state, uint8 [image_size, image_size, 3]."""
        return squeezed(self.render(), self._observations.image_size)

    def vectors(self) -> Vectors:
        """Returns the task's observation, float32 [V] by name."""
        named = self._last if isinstance(self._last, dict) else {"vector": self._last}
        return {name: np.array(named[name], np.float32).reshape(-1) for name in self._spaces}

    def render(self) -> Picture:
        """Returns the present frame as the task draws it, uint8 [h, w, 3].

        Raises:
          ImportError: a package that draws is missing.
          RuntimeError: the task was made without drawing, or returns something else.
        """
        try:
            frame = self._made.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise ImportError(f"{self.task} cannot be drawn: {error}") from error
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape[2:] != (3,):
            got = type(frame).__name__
            got = f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else got
            made = "made with render_mode='rgb_array'"
            raise RuntimeError(f"render: expected uint8 [h, w, 3] of a task {made}, got {got}")
        picture: Picture = frame
        return picture

    def close(self) -> None:
        """Closes the task."""
        self._running = False
        self._made.close()


def squeezed(frame: Picture, size: int) -> Picture:
    """Averages a frame [h, w, 3] by area to [size, size, 3], rounding half up.

    A pixel of the result is the mean of the part of the frame that it covers; pixels at the edge of
    that part count by the share of them that lies in it.
    """
    rows, columns = (_shares(length, size) for length in frame.shape[:2])
    wide = np.tensordot(rows, frame.astype(np.float32), 1)
    average = np.einsum("xw,ywc->yxc", columns, wide, optimize=True)
    rounded: Picture = np.floor(average + (0.5 + 1e-4)).astype(np.uint8)  # float32 is not exact
    return rounded


def _shares(length: int, size: int) -> NDArray[np.float32]:
    """Returns the shares that `length` old pixels have in `size` new ones, [size, length]."""
    old, new = np.arange(length + 1) / length, np.arange(size + 1) / size
    first = np.maximum(old[None, :-1], new[:-1, None])
    last = np.minimum(old[None, 1:], new[1:, None])
    shares: NDArray[np.float32] = (np.clip(last - first, 0.0, None) * size).astype(np.float32)
    return shares


def _made(task: str, control_steps: int | None, mode: str | None) -> gymnasium.Env[Any, Any]:
    """Makes the task as Gymnasium does; its answers are checked where episodes are collected."""
    name = task.removeprefix(GYM_PREFIX)
    drawn = {} if mode is None else {"render_mode": mode}  # some tasks take none
    draw = f"{task} that draws itself (render mode rgb_array)"
    try:
        made = gymnasium.make(
            name, max_episode_steps=control_steps, disable_env_checker=True, **drawn
        )
    except gymnasium.error.DependencyNotInstalled as error:
        raise ImportError(f"{task} cannot be made: {error}") from error
    except gymnasium.error.Error as error:
        raise ValueError(
            f"task: expected an id that Gymnasium knows, got {task!r}: {error}"
        ) from None
    except TypeError as error:
        if mode is None or "render_mode" not in str(error):
            raise
        raise ValueError(f"observe: expected 'vectors', or {draw}: {error}") from None
    modes = made.metadata.get("render_modes") or []
    if mode is not None and mode not in modes:
        made.close()
        raise ValueError(f"observe: expected 'vectors', or {draw}, got render modes {modes}")
    return made


def _check_actions(task: str, space: Any) -> None:
    box = isinstance(space, gymnasium.spaces.Box) and space.is_bounded()
    if not box or space.dtype.kind != "f" or len(space.shape) != 1:
        expected = "task: expected actions in a bounded Box [A] of floats"
        fix = f"gymnasium.wrappers.TransformAction can translate: {_OTHERWISE}"
        raise ValueError(f"{expected}, got {space} of {task}; {fix}")


def _spaces(task: str, space: gymnasium.Space[Any]) -> dict[str, Any]:
    """Returns the boxes of a task's observation by name."""
    named = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {"vector": space}
    expected = "task: expected observations in a Box of numbers, or a Dict of such"
    for name, box in named.items():
        got = f"{box} of {task}" if box is space else f"{box} as {name!r} of {task}"
        if not isinstance(box, gymnasium.spaces.Box):
            fix = "observe='pixels' shows its picture, gymnasium.wrappers.FlattenObservation makes"
            raise ValueError(f"{expected}, got {got}; {fix} numbers of it: {_OTHERWISE}")
        if name == "image" or (box.dtype == np.uint8 and len(box.shape) > 1):
            fix = "observe='pixels' shows what the task renders; to show this picture instead"
            raise ValueError(f"{expected}, got {got}; {fix}, {_OTHERWISE}")
    return dict(named)
