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
_CONTROL_STEPS = {TOY_TASK: 50}  # of an episode; else 1000


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
      quality: "reference", "faithful" or "fast", see `planet.envs.rendering`; the toy has none.
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
    if task != TOY_TASK and split_task(task)[0] not in ACTION_REPEAT and action_repeat is None:
        _log.warning("%s is not in the paper: action repeat %d", task, action_repeat_of(task))
    shared = {
        "image_size": image_size,
        "action_repeat": action_repeat_of(task) if action_repeat is None else action_repeat,
        "control_steps": _CONTROL_STEPS.get(task, 1000) if control_steps is None else control_steps,
        "seed": seed,
    }
    if task != TOY_TASK:
        drawn = {"render_size": render_size, "quality": quality, "camera": camera}
        return _make(task, task=task, **drawn, **shared)
    if render_size not in (None, image_size):
        raise ValueError(
            f"render_size: expected image_size={image_size} for {TOY_TASK}, got {render_size}"
        )
    return _make(TOY_TASK, **shared)


def _make(name: str, /, **settings: Any) -> gymnasium.Env[Any, Any]:
    """Does what `gymnasium.make` does with the specification, but wraps nothing around it."""
    spec = specification(name, **settings)
    module, _, kind = spec.entry_point.partition(":")
    environment: gymnasium.Env[Any, Any] = getattr(import_extra(module), kind)(**settings)
    environment.spec = spec
    return environment
