"""Shows a task of the DM Control Suite, as a `gymnasium.Env`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from planet.envs import _gl
from planet.envs._library import explained, prepare_import, without_rendering
from planet.envs.checks import check_action
from planet.envs.extra import import_extra
from planet.envs.observations import Observations, Picture, Vectors
from planet.envs.rendering import MAX_FRAME, Renderer, quality_of
from planet.envs.seeding import task_seed
from planet.envs.simulation_state import read_state, restore_state
from planet.envs.task_env import TaskEnv, numbers
from planet.envs.tasks import split_task
from planet.errors.scalars import check_int

_log = logging.getLogger("planet")

START_STATES = 20
"""How many start states of an episode are tried before an environment gives up."""


class DMControlEnv(TaskEnv):
    """Shows a DM Control Suite task; an action is held for `action_repeat` control steps.

    Picture: uint8 [image_size, image_size, 3]. Vector: float32 [V], all arrays of the task's own
    observation, flattened, in its order. Action: float32 [A] in [-1, 1], scaled to the task's
    bounds. Reward: sum over the repeat, each control step in [0, 1]. An episode is truncated after
    `control_steps` control steps; `terminated` only if the task ends itself. Diverged physics
    truncates with `info["physics_diverged"]` set, the last good observation and the reward until
    then. A start state that the physics cannot simulate is left out, and the next one is drawn.

    `np_random` decides every episode. The OpenGL context is made at the first frame and kept until
    `close`; where vectors alone are shown, none is needed before `render`. A pickled or deep copy
    goes on with the same future and makes a context of its own.

    Arguments are those of `planet.envs.make`, and `render_mode`: "rgb_array" or None; `render`
    returns the frame in both cases.

    Attributes:
      episodes: how many were started.

    Raises:
      ValueError: an argument is unknown or out of range; the message names it.
      RenderingUnavailable: there is no OpenGL library to draw with.
    """

    def __init__(
        self,
        task: str,
        *,
        action_repeat: int,
        image_size: int = 64,
        render_size: int | None = None,
        quality: str = "faithful",
        camera: int = 0,
        control_steps: int = 1000,
        observe: str = "pixels",
        frames: int = 1,
        seed: int | None = None,
        render_mode: str | None = "rgb_array",
    ) -> None:
        domain, name = split_task(task)
        quality_of(quality)
        size = check_int("image_size", image_size, 1, MAX_FRAME)
        shown = Observations(observe, frames, size)
        super().__init__(shown, action_repeat, control_steps, seed, render_mode)
        render_size = size if render_size is None else render_size
        render_size = check_int("render_size", render_size, 1, MAX_FRAME)
        if render_size % size:
            raise ValueError(
                f"render_size: expected a multiple of image_size={size}, got {render_size}"
            )
        self._render_size = render_size
        self.task, self.quality = task, quality
        self._control = _load(domain, name, shown.pictured)
        self.camera = check_int("camera", camera, -1, self._control.physics.model.ncam - 1)
        spec = self._control.action_spec()
        self._low = np.broadcast_to(spec.minimum, spec.shape)
        self._scale = (np.broadcast_to(spec.maximum, spec.shape) - self._low) / 2
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, spec.shape, np.float32)
        self._vector = _flat(self._control)
        self.observation_space = shown.space({"vector": numbers(len(self._vector))})
        fps = 1 / (self._control.control_timestep() * self.action_repeat)
        self.metadata = {**self.metadata, "render_fps": max(1, round(fps))}
        self._renderer: Renderer | None = None
        self._frame: Picture | None = None
        self._closed = self._diverged = False
        self.episodes = 0

    def start(self, seed: int | None) -> dict[str, Any]:
        """Does what `reset` does before it observes.

        Raises:
          RuntimeError: the environment is closed, frames are to be drawn in a process that was
            forked from one that rendered, or the physics can simulate none of `START_STATES` start
            states.
        """
        self._check_open("reset")
        if self._observations.pictured:
            _gl.check_process()
        super().start(seed)
        self._running = self._diverged = False
        self._control.task.random.seed(task_seed(self.np_random))
        self._draw_start_state()
        if self._renderer is not None:
            self._renderer.upload_terrain()
        self._steps, self._running = 0, True
        self.episodes += 1
        return self._info(0.0)

    def simulate(self, action: NDArray[np.float32]) -> tuple[float, bool, bool, dict[str, Any]]:
        """Does what `step` does before it observes; see `TaskEnv`."""
        self._check_open("step")
        self._check_running()
        from dm_control.rl.control import PhysicsError

        control = self.scaled(check_action(action, len(self._low)))
        reward, terminated, diverged, last = 0.0, False, False, False
        for _ in range(min(self.action_repeat, self.control_steps - self._steps)):
            try:
                time_step = self._control.step(control)
            except PhysicsError:
                diverged = True
                break
            self._steps += 1
            if not np.isfinite(time_step.reward):
                diverged = True
                break
            reward += float(time_step.reward)
            if last := time_step.last():
                terminated = time_step.discount == 0.0
                break
        truncated = diverged or (not terminated and (last or self._steps >= self.control_steps))
        self._running, self._diverged = not (terminated or truncated), diverged
        return reward, terminated, truncated, self._info(reward, diverged)

    def render(self) -> Picture:
        """Returns the present frame at render_size, uint8 [render_size, render_size, 3].

        Raises:
          RuntimeError: no episode was started, the environment is closed, or its physics diverged
            before anything was drawn.
          RenderingUnavailable: there is no OpenGL library to draw with.
        """
        self._check_open("render")
        if not self.episodes:
            raise RuntimeError("render: expected an episode; call reset first")
        if self._frame is None or not self._observations.pictured:
            self._draw()
        assert self._frame is not None
        frame: Picture = self._frame.copy()
        return frame

    def close(self) -> None:
        """Frees the OpenGL context and the physics; may be called again."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        if self._closed:
            return
        self._running, self._closed = False, True
        if not _gl.is_forked():  # else the suite's own context, where it made one, is the parent's
            self._control.physics.free()

    def scaled(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scales actions [..., A] in [-1, 1] to the task's bounds."""
        scaled: NDArray[np.float64] = self._low + (actions + 1.0) * self._scale
        return scaled

    @property
    def physics(self) -> Any:
        """The suite's `Physics`, for tests and for planning on the true simulator."""
        return self.suite.physics

    @property
    def suite(self) -> Any:
        """The suite's `Environment`, which holds physics and task, for the same."""
        self._check_open("physics")
        return self._control

    @property
    def remaining_steps(self) -> int:
        """Control steps until the episode ends, 0 where none is running."""
        return self.control_steps - self._steps if self._running else 0

    def picture(self) -> Picture:
        """Draws the present state, or returns the last good frame where the physics diverged."""
        self._draw()
        assert self._frame is not None
        return area_average(self._frame, self._observations.image_size)

    def vectors(self) -> Vectors:
        """Returns the task's observation as `vector` [V]; the last good one after a divergence."""
        if not self._diverged:
            self._vector = _flat(self._control)
        return {"vector": self._vector.copy()}

    def _draw(self) -> None:
        """Keeps the frame of the present state, unless the physics diverged."""
        if self._diverged:
            if self._frame is None:
                raise RuntimeError("render: expected a state to draw; the physics diverged")
            return
        physics = self.physics
        if self._renderer is None:
            model = physics.model.ptr
            self._renderer = Renderer(model, self._render_size, self.quality, self.camera)
            _gl.close_at_exit(self)
        self._frame = self._renderer.render(physics.data.ptr)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...], dict[str, Any]]:
        return _blank, (type(self), self._observations.pictured), self.__getstate__()

    def __getstate__(self) -> dict[str, Any]:
        """Returns all but the OpenGL context, which the copy makes at its next frame."""
        state = {**self.__dict__, "_renderer": None}
        if self._closed:
            state["_control"] = None  # what was freed cannot be copied
        else:
            state["simulation"] = read_state(self._control.physics)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        simulation = state.pop("simulation", None)
        self.__dict__.update(state)
        if simulation is not None:
            restore_state(self._control.physics, simulation)

    def _check_open(self, what: str) -> None:
        if self._closed:
            raise RuntimeError(f"{what}: expected an open environment; it was closed")

    def _draw_start_state(self) -> None:
        """Starts the suite's episode; the task's generator goes on where a state is left out."""
        from dm_control.rl.control import PhysicsError

        for _ in range(START_STATES):
            try:
                _restart(self._control)
            except PhysicsError as error:
                reason = str(error)
            else:
                if np.isfinite(self._control.physics.get_state()).all():
                    return
                reason = "it is not finite"
            _log.warning("%s: a start state is left out: %s", self.task, reason)
        raise RuntimeError(
            f"reset: expected a start state of {self.task} that the physics can simulate, got "
            f"{START_STATES} that it cannot, from np_random_seed={self.np_random_seed}; "
            "reset with another seed"
        )


def area_average(frame: Picture, size: int) -> Picture:
    """Averages a square frame [n, n, 3] down to [size, size, 3], rounding half up."""
    factor = frame.shape[0] // size
    # Adding strided views is ten times faster than summing two axes of a reshaped array.
    rows = sum((frame[i::factor] for i in range(factor)), np.uint32(0))
    sums = sum((rows[:, i::factor] for i in range(factor)), np.uint32(0))
    average: Picture = ((sums + factor**2 // 2) // factor**2).astype(np.uint8)
    return average


def _blank(kind: type[DMControlEnv], drawn: bool) -> DMControlEnv:
    """Makes an instance to be filled, where its parts are imported."""
    _import_suite(drawn)
    return kind.__new__(kind)


def _restart(control: Any) -> None:
    """Starts an episode without a context of the suite's own.

    quadruped-escape would make one to hand its new terrain to; the renderer here gets it anyway.
    """
    control.physics._make_rendering_contexts = _no_contexts
    try:
        control.reset()
    finally:
        del control.physics._make_rendering_contexts


def _no_contexts() -> None:
    """Stands for the suite's method of this purpose."""


def _flat(control: Any) -> NDArray[np.float32]:
    """Returns all numbers of the task's observation [V], in its order."""
    observed = control.task.get_observation(control.physics)
    return np.concatenate([np.ravel(array) for array in observed.values()]).astype(np.float32)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Tells a warning from the one that the suite's own models cause when they load."""
    return "settotalmass" not in record.getMessage()


def _import_suite(drawn: bool) -> Any:
    """Imports `dm_control.suite`; without an OpenGL library where nothing is to be drawn."""
    with explained(prepare_import()) if drawn else without_rendering():
        return import_extra("dm_control.suite")


def _load(domain: str, task: str, drawn: bool) -> Any:
    suite = _import_suite(drawn)
    logging.getLogger("absl").addFilter(_is_worth_showing)
    try:
        # The episode's length is counted here, so the suite's own limit is lifted.
        return suite.load(domain, task, task_kwargs={"time_limit": float("inf"), "random": 0})
    finally:
        logging.getLogger("absl").removeFilter(_is_worth_showing)
