"""Draws counter-based random numbers on whatever device their seeds are.

`planet.noise` is the specification, in some hundred PyTorch operators. On devices that the compiled
core serves, it draws the same words in one kernel; normals differ by roundings (docs/contract.md).
"""

from __future__ import annotations

from torch import Tensor

from planet import noise
from planet.ops.kernels import KERNELS


def normals(seeds: Tensor, candidates: int, dims: int, *, stream: int, time: int = 0) -> Tensor:
    """Draws standard normals, float32 [B, candidates, dims]: those of `planet.noise.normals`.

    Args:
      seeds: int64 [B].
      candidates: how many, from candidate 0.
      dims: how many, from dimension 0.
      stream: what the numbers are for, one of `planet.noise.STREAM_*`.
      time: model step, 0 to 65535.
    """
    drawn = compiled("normals", seeds.contiguous(), candidates, dims, stream, time, 0, 0)
    if drawn is None:
        return noise.normals(seeds, candidates, dims, stream=stream, time=time)
    return drawn


def compiled(op: str, first: Tensor, *arguments: object) -> Tensor | None:
    """Runs an op of the compiled core; None where it does not serve the device of `first`."""
    kernels = KERNELS.get(first.device.type)
    if kernels is None or not kernels.ready():
        return None
    made: Tensor = kernels.call(op, first, *arguments, kernels.isa())
    return made
