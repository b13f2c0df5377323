"""Describes an episode file: where each of its arrays lies, and what its header says besides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from planet.replay.episode import Episode

Sizes = dict[str, tuple[str, tuple[int, ...]]]
"""Dtype and shape of one entry by the array's name."""


class StoredArray(NamedTuple):
    """Describes an array [N+1, ...] in a file.

    Attributes:
      dtype: of its numbers, e.g. "float32"; little-endian in the file.
      shape: of one entry.
      checksum: CRC-32.
      offset: bytes before it in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    checksum: int
    offset: int

    @property
    def entry_bytes(self) -> int:
        """Size of one entry."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class EpisodeInfo:
    """Holds the header of an episode file.

    Attributes:
      path: the file.
      length: entries N + 1 of the episode.
      arrays: what is in the file by name, in its order.
      ended: format 1, which stores no `terminated`: whether the last entry is. None in format 2.
      total_reward: sum of the rewards.
      metadata: JSON values stored with the episode.
      checksum: CRC-32 of the header; episodes that differ in anything differ in it.
    """

    path: Path
    length: int
    arrays: Mapping[str, StoredArray]
    ended: bool | None
    total_reward: float
    metadata: dict[str, Any]
    checksum: int

    @property
    def sizes(self) -> Sizes:
        """Dtype and entry shape of every array of the episode, `terminated` included."""
        stored = {name: (array.dtype, array.shape) for name, array in self.arrays.items()}
        return stored | {"terminated": ("bool", ())}

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        last = list(self.arrays.values())[-1]
        return last.offset + self.length * last.entry_bytes


def sizes_of(episode: Episode) -> Sizes:
    """Returns dtype and entry shape of every array of an episode."""
    arrays = episode.arrays.items()
    return {name: (str(array.dtype), array.shape[1:]) for name, array in arrays}


def check_same_sizes(expected: Sizes, where: Path, got: Sizes, name: str) -> None:
    """Raises ValueError for the first array of `name` that is not as in the episode at `where`."""
    for array in sorted(expected | got):
        here, there = _shown(got.get(array)), _shown(expected.get(array))
        if here != there:
            raise ValueError(
                f"{array}: expected {there} an entry as in {where}, got {here} in {name}"
            )


def _shown(size: tuple[str, tuple[int, ...]] | None) -> str:
    return "no array" if size is None else f"{size[0]} {list(size[1])}"
