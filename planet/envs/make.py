"""Makes an environment from a task's name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from planet.envs.extra import import_extra
from planet.envs.registration import specification
from planet.envs.tasks import ACTION_REPEAT, TOY_TASK, action_repeat_of, is_suite, split_task

if TYPE_CHECKING:
    import gymnasium

_log = logging.getLogger("planet")


def make(
    task: str,
    *,
    action_repeat: int | None = None,
    image_size: int = 64,
    render_size: int | None = None,
    quality: str = "faithful",
    camera: int = 0,
    control_steps: int | None = None,
    observe: str = "pixels",
    frames: int = 1,
    seed: int | None = None,
) -> gymnasium.Env[Any, Any]:
    """Makes an environment: a DM Control Suite task, the toy task, or any one of Gymnasium's.

    Args:
      task: "cheetah-run", "ball_in_cup-catch" and so on, or "toy-reach", see `task_names`; or
        "gym:Pendulum-v1", "gym:MODULE:ID" and so on, whatever `gymnasium.make` takes.
      action_repeat: control steps per agent step; None takes the paper's for the domain, 2 for
        domains that are not in the paper, 1 for other tasks.
      image_size: side of a picture in pixels.
      render_size: side of the frame that is drawn, a multiple of image_size, averaged down; the
        suite's alone.
      quality: "reference", "faithful" or "fast", see `planet.envs.rendering`; the suite's alone.
      camera: number of the model's camera; other tasks have only 0.
      control_steps: length of an episode; None takes 1000, 50 for the toy, and Gymnasium's limit.
      observe: "pixels" shows pictures, "vectors" the task's own numbers, for which nothing is drawn
        and no OpenGL library is needed, and "both" both by name.
      frames: newest pictures in an image, stacked along its channels, the oldest first; at a reset
        the first one stands for those before it.
      seed: of the first episode, when `reset` gets none; None: another one each time.

    Returns:
      a `gymnasium.Env`; its observations are `image`, uint8 [image_size, image_size, 3 * frames],
      or `vector`, float32 [V], or a dict of both; a suite task's vector holds all arrays of its own
      observation, flattened, in its order. Actions are float32 in [-1, 1], those of a task of
      Gymnasium in its own box. Its `spec` makes it again and has `max_episode_steps`, in agent
      steps.

    Raises:
      TypeError, ValueError: the task is unknown or refused, or a setting is out of range.
      ImportError: Gymnasium, dm_control or MuJoCo is missing; the message gives the command.
      RenderingUnavailable: nothing can draw; the message says what helps.
    """
    shared = {
        "image_size": image_size, "observe": observe, "frames": frames, "seed": seed,
        "action_repeat": action_repeat_of(task) if action_repeat is None else action_repeat,
        "control_steps": control_steps,
    }  # fmt: skip
    if not is_suite(task):
        return _make_undrawn(task, render_size, shared)
    if split_task(task)[0] not in ACTION_REPEAT and action_repeat is None:
        _log.warning("%s is not in the paper: action repeat %d", task, action_repeat_of(task))
    shared["control_steps"] = 1000 if control_steps is None else control_steps
    drawn = {"render_size": render_size, "quality": quality, "camera": camera}
    return _make(task, task=task, **drawn, **shared)


def _make_undrawn(
    task: str, render_size: int | None, settings: dict[str, Any]
) -> gymnasium.Env[Any, Any]:
    """Makes a task that no renderer of this package draws."""
    size = settings["image_size"]
    if render_size not in (None, size):
        raise ValueError(f"render_size: expected image_size={size} for {task}, got {render_size}")
    if task != TOY_TASK:
        return _make(task, task=task, **settings)
    steps = settings["control_steps"]
    return _make(task, **{**settings, "control_steps": 50 if steps is None else steps})


def _make(name: str, /, **settings: Any) -> gymnasium.Env[Any, Any]:
    """Does what `gymnasium.make` does with the specification, but wraps nothing around it."""
    spec = specification(name, **settings)
    module, _, kind = spec.entry_point.partition(":")
    environment: gymnasium.Env[Any, Any] = getattr(import_extra(module), kind)(**settings)
    environment.spec = spec
    return environment
