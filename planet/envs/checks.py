"""Argument checks that the environments share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_action(action: ArrayLike, size: int) -> NDArray[np.float64]:
    """Returns the action [A] in float64, rounding errors beyond [-1, 1] clipped off.

    Raises:
      ValueError: the shape is not [A=size], or a value is not finite or outside [-1, 1].
    """
    values = np.asarray(action, np.float64)
    if values.shape != (size,):
        raise ValueError(f"action: expected shape [A={size}], got {list(values.shape)}")
    if not np.all(np.abs(values) <= 1.0 + 1e-6):  # also false for NaN
        raise ValueError(f"action: expected finite values in [-1, 1], got {values.tolist()}")
    return np.clip(values, -1.0, 1.0)


def check_at_least_one(**arguments: int) -> None:
    """Raises ValueError naming the first argument that is less than 1."""
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")


def check_render_mode(render_mode: str | None) -> None:
    """Raises ValueError unless the mode is "rgb_array" or None."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode: expected 'rgb_array' or None, got {render_mode!r}")
