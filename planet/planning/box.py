"""The box of actions that a planner may choose from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from planet.errors.scalars import LARGEST_FLOAT32
from planet.errors.short_repr import short_repr
from planet.ops.bounds import Bound, check_bound_shape, check_bounds


@dataclass(frozen=True, eq=False)
class Box:
    """Holds bounds of actions, and what a first guess needs to know of them.

    Each is a float32 tensor [B, A], or [1, A] where it serves every problem.

    Attributes:
      low: smallest action.
      high: largest action.
      middle: (low + high) / 2, the nearest float32; exact where low = high.
      half_width: (high - low) / 2, likewise. Neither overflows.
    """

    low: Tensor
    high: Tensor
    middle: Tensor
    half_width: Tensor

    __repr__ = short_repr

    @staticmethod
    def between(low: Tensor, high: Tensor) -> Box:
        """Computes the rest of a box from bounds [B, A], as they are."""
        # In float64, where sums and differences of float32 numbers neither overflow nor vanish.
        first, last = low.double(), high.double()
        return Box(low, high, ((first + last) / 2).float(), ((last - first) / 2).float())

    @staticmethod
    def of(low: Bound, high: Bound, batch: int, size: int, device: torch.device) -> Box:
        """Checks bounds, copies them to `device` and computes the rest.

        Args:
          low: smallest action, in any form of `Bound`.
          high: largest action, likewise.
          batch: B.
          size: A.
          device: of the box.

        Raises:
          TypeError, ValueError: see `planet.ops.bounds.check_bounds`; or a bound has another shape.
        """
        parts = []
        for name, bound in zip(("low", "high"), check_bounds(low, high), strict=True):
            check_bound_shape(name, bound, batch, size)
            if isinstance(bound, Tensor):
                parts.append(bound.reshape(-1, size).to(device, copy=True))
            else:
                parts.append(torch.full((1, size), bound, dtype=torch.float32, device=device))
        rows = max(len(part) for part in parts)
        lower, upper = (part.expand(rows, size) for part in parts)
        check_bounds(lower, upper)  # from another device, they can be read where the box is
        return Box.between(lower, upper)

    def distribution(self, shape: tuple[int, int, int], stddev: float) -> tuple[Tensor, Tensor]:
        """Returns mean and stddev of the first candidates: the middle, and `stddev` half widths.

        Args:
          shape: of both, [H, B, A].
          stddev: in units of half the width.
        """
        mean, width = (
            part.expand(shape).clone(memory_format=torch.contiguous_format)
            for part in (self.middle, self.half_width)
        )
        if stddev != 1.0:
            width.mul_(stddev).clamp_(max=LARGEST_FLOAT32)
        return mean, width

    def clip(self, action: Tensor) -> Tensor:
        """Clips actions [B, A]."""
        return torch.clamp(action, self.low, self.high)
