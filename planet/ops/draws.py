"""Draws counter-based random numbers on whatever device their seeds are.

`planet.noise` is the specification, in some hundred PyTorch operators; on CUDA devices that the
compiled core serves, it draws them in one kernel.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from planet import noise
from planet.ops import fused
from planet.ops.kernels import CudaKernels


def normals(seeds: Tensor, candidates: int, dims: int, *, stream: int) -> Tensor:
    """Draws standard normals, float32 [B, candidates, dims]: `planet.noise.normals`.

    Args:
      seeds: int64 [B].
      candidates: how many, from candidate 0.
      dims: how many, from dimension 0.
      stream: what the numbers are for, one of `planet.noise.STREAM_*`.
    """
    drawn: Tensor | None = _drawn("normals", seeds, candidates, dims, stream, 0, 0, 0, None)
    return noise.normals(seeds, candidates, dims, stream=stream) if drawn is None else drawn


def uniforms(seeds: Tensor, candidates: int, dims: int, *, stream: int) -> Tensor:
    """Draws numbers in (0, 1], float32 [B, candidates, dims]: `planet.noise.uniforms`, rounded.

    Arguments are those of `normals`.
    """
    drawn: Tensor | None = _drawn("uniforms", seeds, candidates, dims, stream, 0, 0, 0)
    if drawn is None:
        drawn = noise.uniforms(noise.words(seeds, candidates, dims, stream=stream))
    return drawn.float()


def _drawn(op: str, seeds: Tensor, *arguments: object) -> Any:
    """Runs the kernel for a CUDA device; None where none can be had."""
    kernels = fused._KERNELS.get(seeds.device.type)
    if isinstance(kernels, CudaKernels) and kernels.ready():
        return kernels.call(op, seeds, *arguments)
    return None
