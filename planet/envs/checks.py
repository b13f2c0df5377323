"""Checks arguments of every environment."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planet.errors.scalars import check_int


def check_action(action: ArrayLike, size: int) -> NDArray[np.float64]:
    """Returns the action [A] in float64, rounding errors beyond [-1, 1] clipped off.

    Raises:
      TypeError: it is not made of real numbers.
      ValueError: the shape is not [A=size], or a value is not finite or outside [-1, 1].
    """
    try:
        values = np.asarray(action)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors with gradients
        values = np.asarray(None)
    if values.dtype.kind not in "fiub":
        kind = type(action).__name__ if values.dtype.kind == "O" else values.dtype
        raise TypeError(f"action: expected numbers [A={size}], got {kind}")
    if values.shape != (size,):
        raise ValueError(f"action: expected shape [A={size}], got {list(values.shape)}")
    values = values.astype(np.float64)
    if not np.all(np.abs(values) <= 1.0 + 1e-6):  # also false for NaN
        raise ValueError(
            f"action: expected finite values in [-1, 1], got {values.tolist()}"
            + ("; gymnasium.wrappers.ClipAction clips" if np.isfinite(values).all() else "")
        )
    clipped: NDArray[np.float64] = np.clip(values, -1.0, 1.0)
    return clipped


def check_seed(seed: int | None) -> int | None:
    """Returns the seed as Gymnasium takes it, also where it came from numpy.

    Raises:
      TypeError: it is neither None nor an integer.
      ValueError: it is negative.
    """
    return None if seed is None else check_int("seed", seed, 0)
