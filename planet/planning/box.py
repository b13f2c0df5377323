"""The box of actions that a planner may choose from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from planet.ops.bounds import Bound, check_bound_shape, check_bounds
from planet.scalars import LARGEST_FLOAT32, as_float32
from planet.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of actions, and what a first guess needs to know of them.

    Each is a float that serves all dimensions, or a float32 tensor [A] or [B, A].

    Attributes:
      low: smallest action.
      high: largest action.
      middle: (low + high) / 2, the nearest float32; exact where low = high.
      half_width: (high - low) / 2, likewise. Neither overflows.
    """

    low: float | Tensor
    high: float | Tensor
    middle: float | Tensor
    half_width: float | Tensor

    __repr__ = short_repr

    @staticmethod
    def between(low: Bound, high: Bound) -> Box:
        """Checks the bounds, which are copied, and computes the rest.

        Raises:
          TypeError, ValueError: see `planet.ops.bounds.check_bounds`.
        """
        lower, upper = (_own(bound) for bound in check_bounds(low, high))
        # In float64, where sums and differences of float32 numbers neither overflow nor vanish.
        if isinstance(lower, Tensor) or isinstance(upper, Tensor):
            devices = [bound.device for bound in (lower, upper) if isinstance(bound, Tensor)]
            device = max(devices, key=lambda device: device.type != "cpu")
            lower, upper = _to(lower, device), _to(upper, device)
            first, last = (
                torch.as_tensor(bound, dtype=torch.float32, device=device).double()
                for bound in (lower, upper)
            )
            middle, half = ((first + last) / 2).float(), ((last - first) / 2).float()
            return Box(lower, upper, middle, half)
        least, most = as_float32(lower), as_float32(upper)
        return Box(lower, upper, as_float32((least + most) / 2), as_float32((most - least) / 2))

    def to(self, device: torch.device) -> Box:
        """Returns the box on `device`; floats are at home on every one.

        Raises:
          ValueError: its bounds came from another device, and on the CPU their values are seen to
            be wrong.
        """
        box = Box(*(_to(part, device) for part in self._parts()))
        check_bounds(box.low, box.high)
        return box

    def check_shapes(self, batch: int, size: int) -> None:
        """Checks that the bounds serve B problems and A dimensions.

        Raises:
          ValueError: a bound has another shape.
        """
        check_bound_shape("low", self.low, batch, size)
        check_bound_shape("high", self.high, batch, size)

    def distribution(
        self, shape: tuple[int, int, int], stddev: float, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Mean and stddev of the first candidates: the middle, and `stddev` half widths.

        Args:
          shape: of both, [H, B, A].
          stddev: in units of half the width.
          device: of both; that of the box, if that is made of tensors.

        Returns:
          float32 mean and stddev.
        """
        mean, width = (_filled(part, shape, device) for part in (self.middle, self.half_width))
        if stddev != 1.0:
            width.mul_(stddev).clamp_(max=LARGEST_FLOAT32)
        return mean, width

    def clip(self, action: Tensor) -> Tensor:
        """Clips actions [..., A]; floats are arguments of a kernel, not tensors to copy."""
        low, high = self.low, self.high
        above = torch.maximum(action, low) if isinstance(low, Tensor) else action.clamp(min=low)
        return torch.minimum(above, high) if isinstance(high, Tensor) else above.clamp(max=high)

    def _parts(self) -> tuple[float | Tensor, ...]:
        return self.low, self.high, self.middle, self.half_width


def _own(bound: float | Tensor) -> float | Tensor:
    return bound.clone() if isinstance(bound, Tensor) else bound


def _filled(part: float | Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    if isinstance(part, Tensor):
        return part.expand(shape).clone(memory_format=torch.contiguous_format)
    return torch.full(shape, part, dtype=torch.float32, device=device)


def _to(part: float | Tensor, device: torch.device) -> float | Tensor:
    return part.to(device) if isinstance(part, Tensor) else part
