"""Prints objects that hold tensors by sizes, never by values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import Tensor


def short_repr(self: Any) -> str:
    """Stands for a dataclass's `__repr__`: tensors are shown by dtype, shape and device."""
    shown = [field for field in dataclasses.fields(self) if field.repr]
    parts = (f"{field.name}={_short(getattr(self, field.name))}" for field in shown)
    return f"{type(self).__name__}({', '.join(parts)})"


def _short(value: object) -> str:
    if isinstance(value, Tensor):
        where = "" if value.device.type == "cpu" else f" on {value.device}"
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}{where}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_short(item) for item in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_short(item)}" for name, item in value.items()) + "}"
    return repr(value)
