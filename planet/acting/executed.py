"""Checks an action that a caller says was executed."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import Tensor

from planet.ops.bounds import float32_values


def executed_action(action: npt.ArrayLike | Tensor, shape: torch.Size) -> Tensor:
    """Returns a copy of an action, float32 [B, A] on the host; that of a batch of one may be [A].

    Raises:
      TypeError: `action` is not made of numbers.
      ValueError: the shape disagrees, or a value is not finite.
    """
    values = float32_values("action", action).to("cpu", copy=True)
    if values.dim() == 1 and shape[0] == 1:
        values = values[None]
    if values.shape != shape:
        raise ValueError(f"action: expected shape {list(shape)}, got {list(values.shape)}")
    if not torch.isfinite(values).all():
        raise ValueError("action: expected finite values, got NaN or infinite")
    return values
