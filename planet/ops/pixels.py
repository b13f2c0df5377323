"""The pixel convention: how camera images become network inputs and back.

Acting and training use the same functions, so the networks see the same distribution in both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from planet import noise
from planet.noise import check_seeds
from planet.ops import draws


def images(observation: Tensor, seeds: Tensor, bit_depth: int) -> Tensor:
    """Quantises, dithers and centres the images of a chunk.

    The dither of row b at time t is that of `seeds[b]`, `planet.noise.dither`, whatever the other
    rows and times are. Where the compiled core serves the device, it makes the same bits at once.

    Args:
      observation: uint8 [T, B, h, w, C], with C a multiple of 3: a picture, or several.
      seeds: int64 [B], on the same device.
      bit_depth: b, 1 to 8.

    Returns:
      `preprocess` of them, float32 [T, B, C, h, w], exact.

    Raises:
      TypeError: `seeds` is not int64.
      ValueError: `observation` is not uint8 with 5 dimensions and C channels last, or `seeds` is
        not one per row.
    """
    _check_images(observation, "[T, B, h, w, C]", 5)
    check_seeds(seeds, observation.shape[1], observation.device, "seeds")
    steps, batch, *shape = observation.shape
    seeds = seeds.reshape(batch)
    dense = observation.contiguous()
    pictures = dense.view(*dense.shape[:3], -1, 3)  # the same bytes, as if side by side
    made = draws.compiled("images", pictures, seeds.contiguous(), bit_depth)
    if made is not None:
        return made.view(dense.shape).movedim(-1, -3)
    dither = noise.dither(seeds, steps, math.prod(shape))
    return preprocess(observation, bit_depth, dither.reshape(observation.shape))


def preprocess(observation: Tensor, bit_depth: int, dither: Tensor | float) -> Tensor:
    """Quantises to `bit_depth` bits, dithers and centres.

    floor(x / 2^(8-b)) / 2^b + u / 2^b - 0.5 with u uniform in [0, 1), drawn afresh each time an
    image is used (official PlaNet code, tools/preprocess.py; Kingma and Dhariwal, 2018).

    Args:
      observation: uint8 [..., h, w, C], with C a multiple of 3.
      bit_depth: b, 1 to 8.
      dither: u, float32 [..., h, w, C], or the same for all.

    Returns:
      float32 [..., C, h, w] in [-0.5, 0.5], channels last in memory.

    Raises:
      ValueError: `observation` is not uint8 with channels of pictures last.
    """
    _check_images(observation, "[..., h, w, C]", observation.dim())
    levels = torch.bitwise_right_shift(observation, 8 - bit_depth).float()
    return levels.add_(dither).mul_(2.0**-bit_depth).sub_(0.5).movedim(-1, -3)


def postprocess(image: Tensor) -> Tensor:
    """Turns a decoded image back into bytes.

    Args:
      image: float [..., C, h, w], nominally in [-0.5, 0.5]; values outside are clipped.

    Returns:
      uint8 [..., h, w, C].
    """
    return ((image + 0.5) * 256.0).clamp(0.0, 255.0).to(torch.uint8).movedim(-3, -1)


def _check_images(observation: Tensor, layout: str, dims: int) -> None:
    right = observation.dtype == torch.uint8 and observation.dim() == dims
    channels = observation.shape[-1] if observation.dim() else 0
    if not right or not channels or channels % 3:
        raise ValueError(
            f"observation: expected uint8 {layout} with C a multiple of 3, got {observation.dtype} "
            f"{list(observation.shape)}"
        )
