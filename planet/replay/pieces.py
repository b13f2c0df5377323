"""Reads the pieces of episodes that a batch is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from planet.protocols import Chunk, Empty
from planet.replay.episode import OWN
from planet.replay.episode_file import CorruptEpisodeError, read_chunk
from planet.replay.episode_info import EpisodeInfo

_NUMPY = {torch.uint8: np.uint8, torch.float32: np.float32, torch.bool: np.bool_}
_TORCH = {str(np.dtype(kind)): dtype for dtype, kind in _NUMPY.items()}


def numpys(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Makes a tensor in numpy's memory.

    torch.empty's aligned blocks of a chunk's size fragment the heap, and the process grows by
    hundreds of megabytes.
    """
    return torch.from_numpy(np.empty(shape, _NUMPY[dtype]))


@dataclass(frozen=True)
class Pieces:
    """Holds which pieces of which episodes make a batch.

    Attributes:
      starts: the episode of every row, and the piece's first entry in it.
      length: T, entries of each.
    """

    starts: list[tuple[EpisodeInfo, int]]
    length: int

    def read(self, empty: Empty = numpys) -> Chunk:
        """Reads the batch into tensors of `empty`'s; may run in another thread.

        Returns:
          Arrays [T, B, ...] as `planet.protocols.Chunk` has them, observations by their names.

        Raises:
          CorruptEpisodeError: a file was cut short or removed since it was opened.
        """
        tensors = {
            name: empty((self.length, len(self.starts), *shape), _TORCH[dtype])
            for name, (dtype, shape) in self.starts[0][0].sizes.items()
        }
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        for row, (info, start) in enumerate(self.starts):
            try:
                pieces = read_chunk(info, start, self.length)
            except OSError as error:
                raise CorruptEpisodeError(info.path, f"cannot be read any more: {error}") from error
            for name, piece in pieces.items():
                arrays[name][:, row] = piece
        own = {name: tensors.pop(name) for name in OWN}
        return Chunk({name: tensors[name] for name in sorted(tensors)}, **own)
