"""Takes bounds of actions in the forms that users have, and checks them element by element.

Bounds are float32 inside: what is given in another type is rounded to the nearest float32, as
`gymnasium.spaces.Box` does it. So an action may pass a float64 bound by half a unit in the last
place of a float32, and never by more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from planet.errors.checks import check_device
from planet.errors.scalars import check_float32
from planet.errors.short_repr import short_repr
from planet.ops.tracing import has_values


@dataclass(frozen=True, eq=False)
class CheckedBound:
    """Marks a bound that `check_bounds` returned: its values are not looked at again."""

    value: float | Tensor

    __repr__ = short_repr


Bound = float | Sequence[float] | npt.NDArray[np.generic] | Tensor | CheckedBound
"""Of actions: one number for all, or [A] or [B, A] as a list, a numpy array or a tensor."""

_KINDS = "a float or values [A] or [B, A]"


def check_bounds(low: Bound, high: Bound) -> tuple[float | Tensor, float | Tensor]:
    """Checks a pair of bounds: finite, and low <= high in every element.

    Tensors on another device than the CPU are not read, so that nothing waits for the device.

    Args:
      low: smallest action; integers and floats of any width are taken.
      high: largest action, likewise; low = high fixes an action.

    Returns:
      Each as a float, or as a float32 tensor [A] or [B, A] where it was (lists and arrays: CPU).

    Raises:
      TypeError: neither a number nor an array of real numbers.
      ValueError: a value is not finite, as a float32 too, or low is above high; sizes disagree.
    """
    if isinstance(low, CheckedBound) and isinstance(high, CheckedBound):
        return low.value, high.value
    lower, upper = _bound("low", low), _bound("high", high)
    if isinstance(lower, Tensor) and isinstance(upper, Tensor):
        _check_sizes(lower, upper)
    if not isinstance(lower, Tensor) and not isinstance(upper, Tensor):
        if not lower <= upper:
            raise ValueError(f"low: expected a value <= high={upper}, got {lower}")
    elif _readable(lower) and _readable(upper):
        _check_order(lower, upper)
    return lower, upper


def expand_bounds(low: Bound, high: Bound, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Checks action bounds and makes them tensors.

    Args:
      low: smallest action.
      high: largest action.
      mean: [H, B, A], for sizes and device. Lists and arrays are copied to it; a tensor must be
        there already.

    Returns:
      Two float32 tensors [B, A] (views where possible).

    Raises:
      TypeError, ValueError: as `check_bounds`; or a shape or device disagrees.
    """
    _, batch, size = mean.shape
    lower, upper = check_bounds(low, high)
    out = []
    for name, given, value in (("low", low, lower), ("high", high, upper)):
        check_bound_shape(name, value, batch, size)
        if not isinstance(value, Tensor):  # a copy from the host would wait, no graph captures it
            value = mean.new_full((batch, size), float(value))
        elif isinstance(given, (Tensor, CheckedBound)):
            check_device(name, value, mean.device)
        out.append(value.to(mean.device).expand(batch, size))
    return out[0], out[1]


def check_bound_shape(name: str, value: float | Tensor, batch: int, size: int) -> None:
    """Checks that a bound serves B problems and A dimensions."""
    if not isinstance(value, Tensor):
        return
    # Size by size, and not as tuples: B may be a symbol, which is not to be compared with A.
    rows = value.shape[0] if value.dim() == 2 else batch
    if value.shape[-1] != size or rows != batch:
        raise ValueError(
            f"{name}: expected a float or shape [A={size}] or [B={batch}, A={size}], "
            f"got {list(value.shape)}"
        )


def _bound(name: str, value: Bound) -> float | Tensor:
    if isinstance(value, CheckedBound):
        return value.value
    if not isinstance(value, (Tensor, list, tuple, np.ndarray)):
        return check_float32(name, value, _KINDS)
    tensor = float32_values(name, value)
    if tensor.dim() not in (1, 2):
        shape = list(tensor.shape)
        raise ValueError(f"{name}: expected a float or shape [A] or [B, A], got {shape}")
    if _readable(tensor) and not tensor.isfinite().all():
        index = (~tensor.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"{name}: expected finite float32 values, got {tensor[tuple(index)].item()} at {index}"
        )
    return tensor


def float32_values(name: str, value: npt.ArrayLike | Tensor) -> Tensor:
    """Rounds real numbers to float32; a float32 tensor comes back as it is, detached.

    Raises:
      TypeError, ValueError: these are not real numbers, or rows differ in length.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise TypeError(f"{name}: expected a dense tensor, got {value.layout}")
        if value.dtype == torch.bool or value.is_complex() or value.is_quantized:
            raise TypeError(f"{name}: expected real numbers, got {value.dtype}")
        return value.detach().to(torch.float32)
    if torch.compiler.is_compiling():  # it traces no look at an array's dtype
        return torch.as_tensor(value, dtype=torch.float32, device="cpu")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}: expected rows of one length, got {value!r}") from None
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):  # infinity is the caller's to refuse
        return torch.from_numpy(np.array(array, np.float32, order="C"))


def _check_sizes(low: Tensor, high: Tensor) -> None:
    rows = {len(bound) for bound in (low, high) if bound.dim() == 2}
    if low.shape[-1] != high.shape[-1] or len(rows) > 1:
        got = f"{list(low.shape)} and {list(high.shape)}"
        raise ValueError(f"low, high: expected shapes that agree, got {got}")


def _check_order(low: float | Tensor, high: float | Tensor) -> None:
    lower, upper = (torch.as_tensor(x, dtype=torch.float32, device="cpu") for x in (low, high))
    swapped = ~(lower <= upper)
    if swapped.any():
        index = swapped.nonzero()[0].tolist()
        got, most = (bound.expand_as(swapped)[tuple(index)].item() for bound in (lower, upper))
        raise ValueError(f"low: expected values <= high, got {got} above {most} at {index}")


def _readable(value: float | Tensor) -> bool:
    """Whether a look at the values costs nothing; traced tensors have none."""
    return not isinstance(value, Tensor) or (value.device.type == "cpu" and has_values(value))
