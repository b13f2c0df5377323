"""Makes an environment from a task's name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from planet.envs.extra import import_extra
from planet.envs.registration import specification
from planet.envs.tasks import ACTION_REPEAT, TOY_TASK, action_repeat_of, split_task

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
    seed: int | None = None,
) -> gymnasium.Env[Any, Any]:
    """Makes a pixel environment: a DM Control Suite task, or the toy task.

    Args:
      task: "cheetah-run", "ball_in_cup-catch" and so on, or "toy-reach"; see `task_names`.
      action_repeat: control steps per agent step; None takes the paper's for the domain, 2 for
        domains that are not in the paper, 1 for the toy.
      image_size: side of the observation in pixels.
      render_size: side of the frame that is drawn, a multiple of image_size, averaged down.
      quality: "reference", "faithful" or "fast"; the toy has no qualities.
      camera: number of the model's camera; the toy has only 0.
      control_steps: length of an episode; None takes 1000, and 50 for the toy.
      seed: of the first episode, when `reset` gets none; None: another one each time.

    Returns:
      a `gymnasium.Env`: observation uint8 [image_size, image_size, 3], action float32 in [-1, 1];
      its `spec` makes it again and has `max_episode_steps`, in agent steps.

    Raises:
      TypeError, ValueError: the task is unknown or refused, or a setting is out of range.
      ImportError: Gymnasium, dm_control or MuJoCo is missing; the message gives the command.
      RenderingUnavailable: nothing can draw; the message says what helps.
    """
    if task == TOY_TASK:
        return _toy(action_repeat, image_size, render_size, control_steps, seed)
    domain, _ = split_task(task)
    if action_repeat is None:
        action_repeat = action_repeat_of(task)
        if domain not in ACTION_REPEAT:
            _log.warning("%s is not in the paper: action repeat %d", task, action_repeat)
    return _make(
        task,
        task=task,
        action_repeat=action_repeat,
        image_size=image_size,
        render_size=render_size,
        quality=quality,
        camera=camera,
        control_steps=1000 if control_steps is None else control_steps,
        seed=seed,
    )


def _toy(
    action_repeat: int | None,
    image_size: int,
    render_size: int | None,
    control_steps: int | None,
    seed: int | None,
) -> gymnasium.Env[Any, Any]:
    if render_size not in (None, image_size):
        raise ValueError(
            f"render_size: expected image_size={image_size} for {TOY_TASK}, got {render_size}"
        )
    return _make(
        TOY_TASK,
        image_size=image_size,
        action_repeat=1 if action_repeat is None else action_repeat,
        control_steps=50 if control_steps is None else control_steps,
        seed=seed,
    )


def _make(name: str, /, **settings: Any) -> gymnasium.Env[Any, Any]:
    """Does what `gymnasium.make` does with the specification, but wraps nothing around it."""
    spec = specification(name, **settings)
    module, _, kind = spec.entry_point.partition(":")
    environment: gymnasium.Env[Any, Any] = getattr(import_extra(module), kind)(**settings)
    environment.spec = spec
    return environment
