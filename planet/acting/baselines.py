"""Policies that know nothing: what a run begins with, and what an agent must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.protocols import Observation, Spec

Actions = npt.NDArray[np.float32]


class RandomPolicy:
    """Draws actions uniformly from the environment's box; a row's seed alone decides them.

    Args:
      spec: of the environment.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._bounds = spec.low.astype(np.float64), spec.high.astype(np.float64)
        self._generators: list[np.random.Generator] = []

    def reset(self, seeds: Sequence[int] | int = 0, rows: Sequence[int] | None = None) -> None:
        """Starts episodes; an int is the seed of a single row."""
        starts = [seeds] if isinstance(seeds, (int, np.integer)) else seeds
        if rows is None:
            rows, self._generators = range(len(starts)), [np.random.default_rng(0)] * len(starts)
        for row, seed in zip(rows, starts, strict=True):
            self._generators[row] = np.random.default_rng(int(seed) & ((1 << 64) - 1))

    def act(self, observation: Observation, explore: bool = False) -> Actions:
        """Returns random actions, [A] or [B, A]."""
        drawn = [generator.uniform(*self._bounds) for generator in self._generators]
        actions = np.stack(drawn).astype(np.float32)
        return actions if is_batch(observation, self._spec) else actions[0]

    def executed(self, action: npt.ArrayLike) -> None:
        """Does nothing: no action depends on earlier ones."""


class ZeroPolicy:
    """Does nothing at all: returns the middle of the environment's box, zeros in [-1, 1].

    Args:
      spec: of the environment.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        middle = (spec.low.astype(np.float64) + spec.high) / 2
        self._middle: Actions = middle.astype(np.float32)

    def reset(self, seeds: Sequence[int] | int = 0, rows: Sequence[int] | None = None) -> None:
        """Does nothing."""

    def act(self, observation: Observation, explore: bool = False) -> Actions:
        """Returns the middle of the box, [A] or [B, A]."""
        rows = (len(next(iter(observation.values()))),) if is_batch(observation, self._spec) else ()
        actions: Actions = np.tile(self._middle, (*rows, 1))
        return actions

    def executed(self, action: npt.ArrayLike) -> None:
        """Does nothing."""


def is_batch(observation: Observation, spec: Spec) -> bool:
    """Tells whether arrays have an axis of rows before those of the environment's."""
    name, array = next(iter(observation.items()))
    shape: tuple[Any, ...] = spec.observation[name][1]
    return np.ndim(array) > len(shape)
