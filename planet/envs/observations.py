"""Makes what an agent sees of pictures and vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from planet.config import EnvironmentConfig
from planet.config.checks import choices
from planet.errors.checks import check_choice
from planet.errors.scalars import check_int

Picture = NDArray[np.uint8]
Vectors = dict[str, NDArray[np.float32]]
Observation = Picture | NDArray[np.float32] | dict[str, NDArray[Any]]

OBSERVE = choices(EnvironmentConfig, "observe")


class Observations:
    """Shows the newest pictures stacked along the channels, or vectors, or both.

    An array that is shown alone as `image` or `vector` is the observation itself; else it is a dict
    of arrays by name.

    Attributes:
      image_size: side of a picture in pixels.
      pictured: whether pictures are shown.

    Args:
      observe: "pixels", "vectors" or "both".
      frames: newest pictures in an image, the oldest first; the first one of an episode stands for
        those before it.
      image_size: side of a picture in pixels.

    Raises:
      TypeError, ValueError: an argument is unknown or out of range; the message names it.
    """

    def __init__(self, observe: str, frames: int, image_size: int) -> None:
        check_choice("observe", observe, OBSERVE)
        self.image_size = check_int("image_size", image_size, 1)
        self._frames = check_int("frames", frames, 1)
        self.pictured, self._measured = observe != "vectors", observe != "pixels"
        if self._frames > 1 and not self.pictured:
            raise ValueError(f"frames: expected 1 where observe is 'vectors', got {frames}")
        self._pictures: list[Picture] = []

    def space(self, vectors: Mapping[str, gymnasium.spaces.Box]) -> gymnasium.Space[Any]:
        """Returns the space of what is shown of a picture and of vectors [V] by name."""
        shown: dict[str, gymnasium.Space[Any]] = dict(vectors) if self._measured else {}
        if self.pictured:
            shape = self.image_size, self.image_size, 3 * self._frames
            shown = {"image": gymnasium.spaces.Box(0, 255, shape, np.uint8), **shown}
        name, *others = shown
        bare = not others and name in ("image", "vector")
        return shown[name] if bare else gymnasium.spaces.Dict(shown)

    def start(self) -> None:
        """Forgets the pictures of the last episode."""
        self._pictures = []

    def newest(self, picture: Callable[[], Picture], vectors: Callable[[], Vectors]) -> Observation:
        """Returns the observation of the present state; asks only for what is shown."""
        shown: dict[str, NDArray[Any]] = {}
        if self.pictured:
            newest = picture()
            before = self._pictures or [newest] * self._frames
            self._pictures = [*before, newest][-self._frames :]
            shown["image"] = np.concatenate(self._pictures, axis=-1)
        if self._measured:
            shown |= vectors()
        name, *others = shown
        return shown[name] if not others and name in ("image", "vector") else shown
