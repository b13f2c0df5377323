"""Compares an environment with what training needs, before any work."""

from __future__ import annotations

from typing import Any

import numpy as np

from planet.training.action_box import ActionBox
from planet.weights.shapes import MAX_SIZE

_WRAPPERS = "gymnasium.wrappers"


def check_environment(environment: Any, image_size: int) -> ActionBox:
    """Compares the kind, dtype, bounds and shapes of an environment's spaces with what is needed.

    Args:
      environment: a single `gymnasium.Env`; its observations must be Box uint8 [image_size,
        image_size, 3] from 0 to 255, its actions a bounded Box [A] of real numbers, A <= 512.
      image_size: pixels per side of an observation.

    Returns:
      The box of its actions.

    Raises:
      TypeError: it is not an environment.
      ValueError: a space is another one; the message says what would make it fit.
    """
    for name in ("reset", "step", "observation_space", "action_space"):
        if not hasattr(environment, name):
            got = f"{type(environment).__name__} without {name}"
            raise TypeError(f"environment: expected a gymnasium.Env, got {got}")
    if getattr(environment, "num_envs", None) is not None:
        raise ValueError(
            "environment: expected a single one, got a vector of "
            f"{environment.num_envs}; make it with gymnasium.make"
        )
    _check_observations(environment.observation_space, image_size)
    return _check_actions(environment.action_space)


def _check_observations(space: Any, size: int) -> None:
    expected = f"environment: expected observations Box uint8 [{size}, {size}, 3] from 0 to 255"
    drawn = "AddRenderObservation(environment, render_only=True) gives the picture"
    if not _is_box(space):
        raise ValueError(f"{expected}, got {type(space).__name__}; {_WRAPPERS}.{drawn}")
    shape, dtype = tuple(space.shape), np.dtype(space.dtype)
    got = f"got Box {dtype} {list(shape)}"
    if len(shape) == 3 and shape[0] == 3 and shape[2] != 3:
        fix = "TransformObservation can move the colours to the last axis"
    elif len(shape) != 3 or shape[2] != 3:
        fix = drawn
    elif dtype != np.uint8:
        fix = "TransformObservation can scale them to uint8"
    elif shape != (size, size, 3):
        fix = f"ResizeObservation(environment, ({size}, {size})) resizes them, "
        fix += "or set environment.image_size"
    elif (bounds := (int(np.max(space.low)), int(np.min(space.high)))) != (0, 255):
        got += f" from {bounds[0]} to {bounds[1]}"
        fix = "TransformObservation can scale them"
    else:
        return
    raise ValueError(f"{expected}, {got}; {_WRAPPERS}.{fix}")


def _check_actions(space: Any) -> ActionBox:
    expected = "environment: expected actions Box [A] of bounded real numbers"
    transform = f"{_WRAPPERS}.TransformAction can"
    if not _is_box(space):
        got = type(space).__name__
        raise ValueError(f"{expected}, got {got}; {transform} translate from a Box")
    shape, dtype = tuple(space.shape), np.dtype(space.dtype)
    got = f"got Box {dtype} {list(shape)}"
    if len(shape) != 1 or not shape[0]:
        raise ValueError(f"{expected}, {got}; {transform} reshape them")
    if shape[0] > MAX_SIZE:
        fix = "make one number decide on several"
        raise ValueError(f"{expected}, {MAX_SIZE} at most, {got}; {transform} {fix}")
    if dtype.kind != "f":
        raise ValueError(f"{expected}, {got}; {transform} round them")
    low, high = (np.asarray(bound, np.float64) for bound in (space.low, space.high))
    with np.errstate(over="ignore", invalid="ignore"):
        box = ActionBox(_inward(low, np.float32(np.inf)), _inward(high, np.float32(-np.inf)))
        bounded = np.isfinite(box.high - box.low).all()  # float32: an enormous box is none
    got += f": {ActionBox(space.low, space.high)}"
    if not bounded:
        raise ValueError(f"{expected}, {got}; {transform} give it the bounds that matter")
    if (box.low > box.high).any():
        expected += " with a float32 number from low to high"
        raise ValueError(f"{expected}, {got}; {transform} give it other bounds")
    return box


def _inward(bound: Any, towards: np.float32) -> Any:
    """Rounds a bound to float32; where that would leave the box, to the next number inside."""
    rounded = bound.astype(np.float32)
    outside = rounded < bound if towards > 0 else rounded > bound
    return np.where(outside, np.nextafter(rounded, towards), rounded)


def _is_box(space: Any) -> bool:
    """Tells it by what it has: older releases and other packages bring boxes of their own."""
    return all(hasattr(space, name) for name in ("low", "high", "shape", "dtype"))
