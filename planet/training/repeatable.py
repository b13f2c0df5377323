"""Lets gradient steps on CUDA repeat bit for bit, or be as fast as they can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from planet.config import TrainConfig


@contextmanager
def repeatable(train: TrainConfig) -> Iterator[None]:
    """Runs a block whose convolutions on CUDA repeat bit for bit, unless the settings waive that.

    Of the operators that `torch.use_deterministic_algorithms` lists, an update calls convolutions
    alone: cuDNN may add up their gradients in any order, or choose by time among algorithms.
    Everything else repeats by itself on one card with the same releases of driver and PyTorch, so
    that switch, which needs CUBLAS_WORKSPACE_CONFIG before the program starts, is left alone. With
    `deterministic` off, cuDNN takes what it measures to be the fastest.

    cuDNN's flags are the process's; those from before come back. The CPU has no such choice.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    if train.device.startswith("cuda"):
        cudnn.deterministic, cudnn.benchmark = train.deterministic, not train.deterministic
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
