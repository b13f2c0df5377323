"""Stands in for the environment of a run that learns from recorded episodes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.protocols import Spec
from planet.training.collect import EpisodeError


class Recording:
    """Stands for the environment of recorded episodes: has its spaces, and cannot be played in.

    Args:
      spec: of the environment.
    """

    def __init__(self, spec: Spec) -> None:
        boxes = {name: _box(dtype, shape) for name, (dtype, shape) in spec.observation.items()}
        self.observation_space = SimpleNamespace(spaces=boxes)
        self.action_space = SimpleNamespace(
            low=spec.low, high=spec.high, shape=spec.low.shape, dtype=spec.low.dtype
        )

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Refuses to start an episode."""
        raise EpisodeError("episodes are recorded: there is no environment to play in")

    def step(self, action: Any, /) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Refuses to act; see `reset`."""
        raise EpisodeError("episodes are recorded: there is no environment to play in")


def _box(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Any:
    """Describes an array as Gymnasium's Box does."""
    high = 255 if np.dtype(dtype) == np.uint8 else np.inf
    low = 0 if np.dtype(dtype) == np.uint8 else -np.inf
    return SimpleNamespace(low=low, high=high, shape=shape, dtype=np.dtype(dtype))
