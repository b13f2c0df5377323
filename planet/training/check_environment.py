"""Compares an environment with what training needs, before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from planet.config import EnvironmentConfig
from planet.errors.listing import listed
from planet.protocols import Spec
from planet.replay import Episode
from planet.training.action_box import ActionBox
from planet.training.named_spaces import is_box, named_spaces, shown_box
from planet.weights.shapes import MAX_SIZE

_WRAPPERS = "gymnasium.wrappers"
_TRANSFORM = f"{_WRAPPERS}.TransformObservation"
_DRAWN = f"{_WRAPPERS}.AddRenderObservation(environment, render_only=True) gives the picture"
_EXPECTED = {  # by environment.observe
    "pixels": "{}",
    "vectors": "Box [V] of floats, or a Dict of such",
    "both": "Dict of 'image', a {}, and of others, each a Box [V] of floats",
}


def check_environment(environment: Any, config: EnvironmentConfig) -> Spec:
    """Compares an environment's spaces with what is needed, and describes what it shows and takes.

    Args:
      environment: a single `gymnasium.Env`; see below for its observations. Its actions must be a
        bounded Box [A] of real numbers, A <= 512.
      config: says what is to be observed.

    A Box uint8 [image_size, image_size, 3 * frames] from 0 to 255 is `image`, a Box [V] of floats
    is `vector`, and a Dict of these goes by its names, of which `image` alone may be a picture.
    `observe` says whether there must be the image, vectors, or both.

    Returns:
      Its arrays by name, vectors in float32, and the box of its actions in float32.

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
    observation = _check_observations(environment.observation_space, config)
    box = _check_actions(environment.action_space)
    return Spec(observation, box.low, box.high)


def _check_observations(space: Any, config: EnvironmentConfig) -> dict[str, Any]:
    """Returns dtype and shape of every array by name."""
    size, frames = config.image_size, config.frames
    picture = f"Box uint8 [{size}, {size}, {3 * frames}] from 0 to 255"
    expected = f"environment: expected observations {_EXPECTED[config.observe].format(picture)}"
    if config.observe == "pixels" and is_box(space):
        named = {"image": space}  # or what should be it
    else:
        named = named_spaces(space)
    if not named:
        raise ValueError(f"{expected}, got {type(space).__name__}; {_DRAWN}")
    others = [name for name in named if name != "image"]
    fix = _missing(named, others, config.observe)
    if fix:
        got = shown_box(space) if is_box(space) else f"Dict of {listed(map(repr, named))}"
        raise ValueError(f"{expected}, got {got}; {fix}")
    for name, box in named.items():
        got = shown_box(box) if is_box(box) else type(box).__name__
        got += "" if box is space else f" as {name!r}"
        fix = _wrong_image(box, size, frames) if name == "image" else _wrong_vector(box)
        if fix:
            raise ValueError(f"{expected}, got {got}; {fix}")
    arrays = {
        name: (np.dtype(np.uint8 if name == "image" else np.float32), tuple(box.shape))
        for name, box in named.items()
    }
    _check_kept(arrays)
    return arrays


def _check_kept(arrays: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> None:
    """Refuses names that an episode cannot keep."""
    kept = {name: np.zeros((2, *shape), dtype) for name, (dtype, shape) in arrays.items()}
    reward = np.zeros(2, np.float32)
    try:
        Episode(kept, reward[:, None], reward, np.zeros(2, np.bool_))
    except ValueError as error:
        fix = f"{_TRANSFORM} can give others"
        raise ValueError(f"environment: expected other names: {error}; {fix}") from None


def _missing(named: Mapping[str, Any], others: list[str], observe: str) -> str:
    """Says what would bring the arrays that are to be observed, and no others; "" if it is so."""
    if observe != "vectors" and "image" not in named:
        return f"{_DRAWN}, or set environment.observe to 'vectors'"
    if observe == "pixels" and others:
        fix = f"{_WRAPPERS}.FilterObservation(environment, ['image']) leaves the others out"
        return f"{fix}, or set environment.observe to 'both'"
    if observe == "vectors" and "image" in named:
        return f"set environment.observe to {'both' if others else 'pixels'!r}"
    if observe == "both" and not others:
        return "set environment.observe to 'pixels'"
    return ""


def _wrong_image(box: Any, size: int, frames: int) -> str:
    """Says what would make a box the image that is expected; "" if it is."""
    if not is_box(box):
        return _DRAWN
    shape, dtype, channels = tuple(box.shape), np.dtype(box.dtype), 3 * frames
    if len(shape) == 3 and shape[0] == channels and shape[2] != channels:
        return f"{_TRANSFORM} can move the colours to the last axis"
    if len(shape) != 3 or shape[2] % 3 or not shape[2]:
        return f"{_DRAWN}, or set environment.observe to 'vectors'" if len(shape) == 1 else _DRAWN
    if dtype != np.uint8:
        return f"{_TRANSFORM} can scale them to uint8"
    if shape[2] != channels:
        return f"set environment.frames to {shape[2] // 3}"
    if shape[:2] != (size, size):
        fix = f"{_WRAPPERS}.ResizeObservation(environment, ({size}, {size})) resizes them"
        return f"{fix}, or set environment.image_size"
    if (int(np.max(box.low)), int(np.min(box.high))) != (0, 255):
        return f"{_TRANSFORM} can scale them"
    return ""


def _wrong_vector(box: Any) -> str:
    """Says what would make a box the vector that is expected; "" if it is."""
    if not is_box(box):
        return f"{_WRAPPERS}.FlattenObservation makes numbers of them"
    if len(box.shape) == 3 and np.dtype(box.dtype) == np.uint8:
        return "a picture is called 'image'"
    if np.dtype(box.dtype).kind != "f":
        return f"{_TRANSFORM} can make floats of them"
    if len(box.shape) != 1 or not box.shape[0]:
        return f"{_WRAPPERS}.FlattenObservation flattens them"
    return ""


def _check_actions(space: Any) -> ActionBox:
    expected = "environment: expected actions Box [A] of bounded real numbers"
    transform = f"{_WRAPPERS}.TransformAction can"
    if not is_box(space):
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
