"""The pixel convention: how camera images become network inputs and back.

Acting and training use the same functions, so the networks see the same distribution in both.
"""

from __future__ import annotations

import torch
from torch import Tensor


def preprocess(observation: Tensor, bit_depth: int, dither: Tensor) -> Tensor:
    """Quantises to `bit_depth` bits, dithers and centres.

    floor(x / 2^(8-b)) / 2^b + u / 2^b - 0.5 with u uniform in [0, 1), drawn afresh each time an
    image is used (official PlaNet code, tools/preprocess.py; Kingma and Dhariwal, 2018).

    Args:
      observation: uint8 [..., h, w, 3].
      bit_depth: b, 1 to 8.
      dither: u, float32 [..., h, w, 3].

    Returns:
      float32 [..., 3, h, w] in [-0.5, 0.5], channels last in memory.

    Raises:
      ValueError: `observation` is not uint8 with 3 channels last.
    """
    if observation.dtype != torch.uint8 or observation.shape[-1] != 3:
        raise ValueError(
            f"observation: expected uint8 [..., h, w, 3], got {observation.dtype} "
            f"{list(observation.shape)}"
        )
    levels = torch.bitwise_right_shift(observation, 8 - bit_depth).float()
    return levels.add_(dither).mul_(2.0**-bit_depth).sub_(0.5).movedim(-1, -3)


def postprocess(image: Tensor) -> Tensor:
    """Turns a decoded image back into bytes.

    Args:
      image: float [..., 3, h, w], nominally in [-0.5, 0.5]; values outside are clipped.

    Returns:
      uint8 [..., h, w, 3].
    """
    return ((image + 0.5) * 256.0).clamp(0.0, 255.0).to(torch.uint8).movedim(-3, -1)
