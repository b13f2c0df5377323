"""Reads the pieces of episodes that a batch is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from planet.protocols import Chunk, Empty
from planet.replay.episode_file import CorruptEpisodeError, EpisodeInfo, read_chunk

_NUMPY = {torch.uint8: np.uint8, torch.float32: np.float32}


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
          image uint8 [T, B, h, w, 3], action float32 [T, B, A], reward float32 [T, B].

        Raises:
          CorruptEpisodeError: a file was cut short or removed since it was opened.
        """
        size, first = (self.length, len(self.starts)), self.starts[0][0]
        image = empty((*size, *first.entry_shape("observation")), torch.uint8)
        action = empty((*size, first.action_size), torch.float32)
        reward = empty(size, torch.float32)
        arrays = [tensor.numpy() for tensor in (image, action, reward)]
        for row, (info, start) in enumerate(self.starts):
            try:
                pieces = read_chunk(info, start, self.length)
            except OSError as error:
                raise CorruptEpisodeError(info.path, f"cannot be read any more: {error}") from error
            for array, piece in zip(arrays, pieces, strict=True):
                array[:, row] = piece
        return Chunk({"image": image}, action, reward)
