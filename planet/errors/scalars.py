"""Checks single numbers as callers pass them, Python's and numpy's.

What comes back is Python's own, so that arithmetic does not depend on the caller's type.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch

from planet.errors.listing import short

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_ROUNDS_TO_INFINITY = 2.0**128 - 2.0**103  # the first number that is infinite as a float32


def check_int(name: str, value: object, least: int, most: int | None = None) -> int:
    """Returns `whole_number`; raises ValueError unless least <= value <= most."""
    number = whole_number(name, value)
    check_between(name, number, least, most)
    return number


def check_between(name: str, number: float, least: float, most: float | None = None) -> None:
    """Raises ValueError unless least <= number <= most."""
    if not number >= least:  # also true of NaN
        raise ValueError(f"{name}: expected a value >= {least}, got {short(number)}")
    if most is not None and not number <= most:
        raise ValueError(f"{name}: expected a value <= {most}, got {short(number)}")


def check_float(name: str, value: object, kinds: str = "a float") -> float:
    """Returns a finite int, float or numpy number as it is, in Python's type.

    Args:
      name: of the argument.
      value: what was passed.
      kinds: what the caller takes, for the message.

    Raises:
      TypeError: `value` is none of them.
      ValueError: it is NaN or infinite.
    """
    number = _number(name, value, kinds)
    if isinstance(number, int) and abs(number) > sys.float_info.max:
        bits = number.bit_length()
        raise ValueError(f"{name}: expected a finite value, got an int of {bits} bits")
    if not -math.inf < number < math.inf:  # not math.isfinite, which cannot be traced
        raise ValueError(f"{name}: expected a finite value, got {number}")
    return number


def check_float32(name: str, value: object, kinds: str = "a float") -> float:
    """Checks as `check_float` does, and that the number is finite as a float32, too."""
    number = check_float(name, value, kinds)
    if not -_ROUNDS_TO_INFINITY < number < _ROUNDS_TO_INFINITY:
        raise ValueError(f"{name}: expected a finite float32 value, got {number}")
    return number


def check_positive(name: str, value: object) -> float:
    """Returns a finite number > 0 as `check_float` does."""
    number = check_float(name, value)
    if number <= 0:
        raise ValueError(f"{name}: expected a value > 0, got {number}")
    return number


def check_not_negative(name: str, value: object) -> float:
    """Returns a number >= 0 that is finite as a float32 as `check_float` does."""
    number = _number(name, value, "a float")
    if not 0 <= number < _ROUNDS_TO_INFINITY:
        raise ValueError(f"{name}: expected a finite float32 value >= 0, got {number}")
    return number


def check_bool(name: str, value: object) -> bool:
    """Returns a bool or numpy bool as a bool; raises TypeError otherwise."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected bool, got {type(value).__name__}")
    return bool(value)


def whole_number(name: str, value: object, kinds: str = "an int") -> int:
    """Returns an int or numpy integer as an int; raises TypeError otherwise."""
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, torch.SymInt):  # a size that torch.export has not fixed
        return value  # type: ignore[return-value]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected {kinds}, got {type(value).__name__}")
    return value


def _number(name: str, value: object, kinds: str) -> float:
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected {kinds}, got {type(value).__name__}")
    return value
