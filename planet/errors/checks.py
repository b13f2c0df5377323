"""Checks choices, types and tensors as callers pass them; `scalars` checks numbers.

Messages name the argument, what was expected and what came, one wording per fact. No data is read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def check_type(name: str, value: object, kind: type[T]) -> T:
    """Returns `value`, an instance of `kind`; raises TypeError otherwise."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in list(choices):
        raise ValueError(f"{name}: expected one of {list(choices)}, got {value!r}")


def check_floating(name: str, value: object) -> Tensor:
    """Returns `value`, a tensor of floating point numbers; raises TypeError otherwise."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating point tensor, got {value.dtype}")
    return value


def check_dims(name: str, value: Tensor, *layouts: str) -> None:
    """Raises ValueError unless `value` has the dimensions of a layout such as "[M, S+A]"."""
    if value.dim() not in [text.count(",") + 1 for text in layouts]:
        expected = " or ".join(layouts)
        raise ValueError(f"{name}: expected shape {expected}, got {list(value.shape)}")


def check_shape(name: str, value: Tensor, shape: tuple[int, ...], layout: str) -> None:
    """Raises ValueError unless `value` has the shape that `layout` says in letters."""
    if tuple(value.shape) != shape:
        raise ValueError(
            f"{name}: expected shape {list(shape)} ({layout}), got {list(value.shape)}"
        )


def check_device(name: str, value: Tensor, device: torch.device, of: str = "") -> None:
    """Raises ValueError unless `value` is on `device`, that of the argument `of`."""
    if value.device != device:
        source = f" (of {of})" if of else ""
        raise ValueError(f"{name}: expected device {device}{source}, got {value.device}")
