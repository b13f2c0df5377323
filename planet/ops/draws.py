"""Counter-based random numbers on whatever device their seeds are.

`planet.noise` is the specification, in some hundred PyTorch operators; where the compiled core has
an op for the device, that draws them in one kernel.
"""

from __future__ import annotations

from torch import Tensor

from planet import noise


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
    words = noise.words(
        seeds, candidates, dims, stream=stream, time=time, iteration=iteration, particle=particle
    )
    return noise.uniforms(words).float()
