"""Checks the frames that an agent is given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from planet.protocols import Observation

Frames = npt.NDArray[np.uint8]


def check_frames(observation: Observation | Frames, size: int, batch_size: int) -> Frames:
    """Returns the image of an observation, [h, w, 3] of a batch of one, or [B, h, w, 3].

    Args:
      observation: with an `image`, or that array itself.
      size: pixels per side.
      batch_size: B.

    Raises:
      TypeError, ValueError: dtype, shape or number of the frames disagree.
    """
    if isinstance(observation, Mapping):
        if "image" not in observation:
            raise ValueError(f"observation: expected an array 'image', got {[*observation]}")
        observation = observation["image"]
    try:
        array = np.asarray(observation)
    except (RuntimeError, TypeError, ValueError) as error:  # as of (observation, info), of reset()
        got = type(observation).__name__
        raise TypeError(f"observation: expected an array on the host, got {got}") from error
    if array.dtype != np.uint8:
        raise TypeError(f"observation: expected dtype uint8, got {array.dtype}")
    if array.ndim not in (3, 4) or array.shape[-3:] != (size, size, 3):
        raise ValueError(
            f"observation: expected shape [{size}, {size}, 3] or [B, {size}, {size}, 3], "
            f"got {list(array.shape)}"
        )
    count = len(array) if array.ndim == 4 else 1
    if count != batch_size:
        raise ValueError(
            f"observation: expected batch size {batch_size} as in reset(), got {count}; "
            "call reset() with a seed per row to change it"
        )
    return array
