"""Checks arguments of every environment."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planet.errors.scalars import check_int


def check_action(
    action: ArrayLike, size: int, low: ArrayLike = -1.0, high: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Returns the action [A] in float64, rounding errors beyond its bounds clipped off.

    Args:
      action: [A].
      size: A.
      low: smallest actions, a number or [A].
      high: largest ones, likewise.

    Raises:
      TypeError: it is not made of real numbers.
      ValueError: the shape is not [A=size], or a value is not finite or out of bounds.
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
    least, most = (np.asarray(bound, np.float64) for bound in (low, high))
    slack = 1e-6 * np.maximum(1.0, np.maximum(np.abs(least), np.abs(most)))
    if not np.all((values >= least - slack) & (values <= most + slack)):  # also false for NaN
        raise ValueError(
            f"action: expected finite values in [{_shown(least)}, {_shown(most)}], got "
            f"{values.tolist()}"
            + ("; gymnasium.wrappers.ClipAction clips" if np.isfinite(values).all() else "")
        )
    clipped: NDArray[np.float64] = np.clip(values, least, most)
    return clipped


def _shown(bound: NDArray[np.float64]) -> str:
    """Writes the number that all bounds are; else all of them."""
    first = bound.reshape(-1)[0]
    return f"{first:g}" if (bound == first).all() else str(bound.tolist())


def check_seed(seed: int | None) -> int | None:
    """Returns the seed as Gymnasium takes it, also where it came from numpy.

    Raises:
      TypeError: it is neither None nor an integer.
      ValueError: it is negative.
    """
    return None if seed is None else check_int("seed", seed, 0)
