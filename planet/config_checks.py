"""Checks of settings: their types, and the ranges of their values.

Every check raises TypeError or ValueError with the setting's name, what was expected and what came.
"""

from __future__ import annotations

import math

import numpy as np

from planet.listing import short

_WHOLE = 1 << 63  # whole numbers stay below


def take_numpy(config: object) -> None:
    """Replaces numpy's numbers and texts in a config by Python's own, which files can keep."""
    for name, value in list(vars(config).items()):
        object.__setattr__(config, name, _python(value))


def _python(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_python, value))
    return value.item() if isinstance(value, np.generic) else value


def _number(config: object, name: str) -> float:
    value = getattr(config, name)
    annotation = type(config).__annotations__[name]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and (annotation.startswith("int") or not isinstance(value, float)):
        raise TypeError(f"{name}: expected {annotation}, got {_received(value)}")
    if not whole and not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite value, got {value}")
    if whole and not -_WHOLE <= value < _WHOLE:
        raise ValueError(f"{name}: expected a number of at most 63 bits, got {short(value)}")
    number: float = value  # an int stays an int: large seeds must not be rounded
    return number


def check_finite(config: object, *names: str) -> None:
    """Checks that settings are numbers, neither NaN nor infinite."""
    for name in names:
        _number(config, name)


def check_positive(config: object, *names: str) -> None:
    """Checks that settings are numbers above 0."""
    for name in names:
        if not _number(config, name) > 0:
            raise ValueError(f"{name}: expected a value > 0, got {getattr(config, name)}")


def check_at_least(config: object, least: float, *names: str) -> None:
    """Checks that settings are numbers of at least `least`."""
    for name in names:
        if _number(config, name) < least:
            raise ValueError(f"{name}: expected a value >= {least}, got {getattr(config, name)}")


def check_range(config: object, name: str, first: int, last: int) -> None:
    """Checks that a setting is a number from `first` to `last`."""
    if not first <= _number(config, name) <= last:
        raise ValueError(f"{name}: expected {first} to {last}, got {getattr(config, name)}")


def check_text(config: object, name: str) -> None:
    """Checks that a setting is a string that is not empty."""
    value = getattr(config, name)
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a string, got {_received(value)}")
    if not value:
        raise ValueError(f"{name}: expected a string that is not empty")


def check_choice(config: object, name: str, choices: tuple[str, ...]) -> None:
    """Checks that a setting is one of a few strings."""
    if getattr(config, name) not in choices:
        received = _received(getattr(config, name))
        raise ValueError(f"{name}: expected one of {list(choices)}, got {received}")


def check_sizes(config: object, *names: str) -> None:
    """Checks that settings are tuples of sizes >= 1."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, tuple) or not value:
            raise TypeError(f"{name}: expected a tuple of sizes, got {_received(value)}")
        for size in value:
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size < _WHOLE:
                raise ValueError(f"{name}: expected sizes >= 1, got {_received(value)}")


def _received(value: object) -> str:
    """Names the value that came on one line, however long it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits
        text = "of any length"
    return f"{type(value).__name__} {short(text)}"
