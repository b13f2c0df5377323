"""Brings the chunks of updates to the device that learns from them.

    host            |- launches update u -----------|- launches update u+1 ---------|
    a thread        |- reads chunk u+1 -|           |- reads chunk u+2 -|
    CUDA device           |- update u ----------------|- copy u+1 -|- update u+1 ---

Reading and copying cost as much as an update on a fast GPU, so they go on beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from planet.config import TrainConfig
from planet.protocols import Chunk, Pieces, Replay
from planet.training import seeds


class Uploads:
    """Draws the chunk of every update, and on CUDA reads the next one ahead.

    A chunk is a function of (run seed, number of the update, episodes): what was read ahead is used
    only where the update itself draws the same pieces, and is read anew where an episode has come
    in between. On a CPU, whose cores an update keeps busy, nothing is read ahead.

    Args:
      device: of the updates.
      train: seed, and sizes of a batch.
    """

    def __init__(self, device: torch.device, train: TrainConfig) -> None:
        self._device, self._train = device, train
        self._ahead: tuple[Pieces, Future[Chunk]] | None = None

    @contextmanager
    def chunk(self, replay: Replay, update: int) -> Iterator[Chunk]:
        """Hands out the chunk of an update on the device, for the time of the update.

        The next one is read meanwhile; no thread is left when the block ends, however it ends. What
        goes wrong while reading is raised by the update that needs the chunk.
        """
        if not reads_ahead(self._device):
            sizes = self._train.batch_size, self._train.chunk_length
            yield replay.sample(*sizes, self._generator(update)).to(self._device)
            return
        pieces = self._draw(replay, update, ahead=False)
        ahead, self._ahead = self._ahead, None
        chunk = ahead[1].result() if ahead and ahead[0] == pieces else pieces.read(pinned)
        with ThreadPoolExecutor(1) as thread:
            following = self._draw(replay, update + 1, ahead=True)
            self._ahead = following, thread.submit(following.read, pinned)
            # Queued behind the kernels of the update before: the host does not wait for it.
            yield chunk.to(self._device, non_blocking=True)

    def _draw(self, replay: Replay, update: int, ahead: bool) -> Pieces:
        train = self._train
        generator = self._generator(update)
        return replay.draw(train.batch_size, train.chunk_length, generator, ahead=ahead)

    def _generator(self, update: int) -> np.random.Generator:
        return np.random.default_rng([self._train.seed, seeds.BATCH, update])


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Brings a tensor from the host to a device, in the order of its work and without waiting."""
    staged = tensor.pin_memory() if device.type == "cuda" else tensor
    return staged.to(device, non_blocking=True)


def reads_ahead(device: torch.device) -> bool:
    """Tells whether the host is free to read while the device updates."""
    return device.type == "cuda"


def pinned(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Makes a tensor on the host that CUDA copies from while the host goes on."""
    return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=True)
