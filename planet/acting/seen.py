"""Checks the observations that an agent is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.errors.listing import listed
from planet.errors.short_repr import short_repr
from planet.protocols import Observation, Shapes

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Seen:
    """Holds a checked observation.

    Attributes:
      arrays: [B, ...] by name; the caller's memory.
      batched: whether it came with a dimension for the batch.
    """

    arrays: Mapping[str, Array]
    batched: bool

    __repr__ = short_repr


def check_observation(observation: Observation | Array, expected: Shapes, batch_size: int) -> Seen:
    """Checks the observation of a batch of one, or of B rows.

    Args:
      observation: arrays by name, of which others are not read; or the array itself, where one is
        expected.
      expected: dtypes and shapes by name. Real numbers of another type become float32.
      batch_size: B.

    Raises:
      TypeError, ValueError: a name is missing, or dtype, shape or number of rows disagree.
    """
    named = isinstance(observation, Mapping)
    if not named and len(expected) > 1:
        got = type(observation).__name__
        raise TypeError(f"observation: expected arrays {listed(expected)} by name, got {got}")
    arrays: dict[str, Array] = {}
    for name, (dtype, shape) in expected.items():
        what = "observation" if len(expected) == 1 else f"observation[{name!r}]"
        if named and name not in observation:
            known = [*observation]
            raise ValueError(f"observation: expected an array {name!r}, got {known}")
        array = _as_array(what, observation[name] if named else observation, np.dtype(dtype))
        if array.ndim not in (len(shape), len(shape) + 1) or array.shape[-len(shape) :] != shape:
            one = ", ".join(map(str, shape))
            raise ValueError(
                f"{what}: expected shape [{one}] or [B, {one}], got {list(array.shape)}"
            )
        arrays[name] = array
    return _rows(arrays, expected, batch_size)


def _rows(arrays: dict[str, Array], expected: Shapes, batch_size: int) -> Seen:
    """Gives every array a dimension for the batch."""
    batched = [array.ndim > len(expected[name][1]) for name, array in arrays.items()]
    if any(batched) != all(batched):
        raise ValueError("observation: expected arrays of a batch, or of one row, got both")
    for name, array in arrays.items():
        count = len(array) if batched[0] else 1
        if count != batch_size:
            what = "observation" if len(expected) == 1 else f"observation[{name!r}]"
            raise ValueError(
                f"{what}: expected batch size {batch_size} as in reset(), got {count}; "
                "call reset() with a seed per row to change it"
            )
        arrays[name] = array if batched[0] else array[None]
    return Seen(arrays, batched[0])


def _as_array(what: str, value: object, dtype: np.dtype[Any]) -> Array:
    try:
        array = np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:  # as of (observation, info), of reset()
        got = type(value).__name__
        raise TypeError(f"{what}: expected an array on the host, got {got}") from error
    real = dtype == np.float32 and array.dtype.kind in "fiub"
    if not real and array.dtype != dtype:
        raise TypeError(f"{what}: expected dtype {dtype}, got {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(dtype, copy=False)
    if real and not np.isfinite(array).all():
        raise ValueError(f"{what}: expected finite numbers of float32, got NaN or infinite")
    return array
