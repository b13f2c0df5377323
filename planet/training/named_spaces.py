"""Reads the spaces of an environment's observations by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def named_spaces(space: Any) -> dict[str, Any]:
    """Returns the spaces of the arrays that an observation has, by name.

    A Dict goes by its own names. A Box of uint8 with three axes is `image`, any other `vector`.
    Other spaces have none.
    """
    parts = getattr(space, "spaces", None)
    if isinstance(parts, Mapping):
        return {str(name): part for name, part in parts.items()}
    if not is_box(space):
        return {}
    pictured = np.dtype(space.dtype) == np.uint8 and len(space.shape) == 3
    return {"image" if pictured else "vector": space}


def is_box(space: Any) -> bool:
    """Tells it by what it has: older releases and other packages bring boxes of their own."""
    return all(hasattr(space, name) for name in ("low", "high", "shape", "dtype"))


def shown_box(box: Any) -> str:
    """Writes dtype and shape of a Box, and of one of uint8 its bounds where they are unusual."""
    text = f"Box {np.dtype(box.dtype)} {list(box.shape)}"
    if np.dtype(box.dtype) != np.uint8 or not np.size(box.low):
        return text
    bounds = int(np.max(box.low)), int(np.min(box.high))
    return text if bounds == (0, 255) else f"{text} from {bounds[0]} to {bounds[1]}"
