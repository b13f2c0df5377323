"""Counter-based random numbers on whatever device their seeds are.

`planet.noise` is the specification, in some hundred PyTorch operators; on CUDA devices that the
compiled core serves, it draws them in one kernel.
"""

from __future__ import annotations

from torch import Tensor

from planet import noise
from planet.ops import fused
from planet.ops.kernels import CudaKernels


def normals(
    seeds: Tensor,
    candidates: int,
    dims: int,
    *,
    stream: int,
    time: int = 0,
    iteration: int = 0,
    particle: int = 0,
) -> Tensor:
    """Standard normals, float32 [B, candidates, dims]; see `planet.noise.normals`.

    Args:
      seeds: int64 [B].
      candidates: how many, from candidate 0.
      dims: how many, from dimension 0.
      stream: what the numbers are for, one of `planet.noise.STREAM_*`.
      time: model step.
      iteration: of the planner.
      particle: which of several draws.
    """
    if kernels := _kernels(seeds):
        where = stream, time, iteration, particle
        out: Tensor = kernels.call("normals", seeds, candidates, dims, *where, None)
        return out
    return noise.normals(
        seeds, candidates, dims, stream=stream, time=time, iteration=iteration, particle=particle
    )


def uniforms(
    seeds: Tensor,
    candidates: int,
    dims: int,
    *,
    stream: int,
    time: int = 0,
    iteration: int = 0,
    particle: int = 0,
) -> Tensor:
    """Uniform numbers in (0, 1], float32 [B, candidates, dims]: `planet.noise.uniforms`, rounded.

    Arguments are those of `normals`.
    """
    if kernels := _kernels(seeds):
        where = stream, time, iteration, particle
        out: Tensor = kernels.call("uniforms", seeds, candidates, dims, *where)
        return out.float()
    words = noise.words(
        seeds, candidates, dims, stream=stream, time=time, iteration=iteration, particle=particle
    )
    return noise.uniforms(words).float()


def _kernels(seeds: Tensor) -> CudaKernels | None:
    """The compiled kernels for a CUDA device, where they can be had."""
    kernels = fused._KERNELS.get(seeds.device.type)
    return kernels if isinstance(kernels, CudaKernels) and kernels.ready() else None
