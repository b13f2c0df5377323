"""Checks settings: their types, and the ranges of their values.

Every check raises TypeError or ValueError with the setting's name, what was expected and what came.
"""

from __future__ import annotations

import math
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from planet.errors import scalars
from planet.errors.listing import short

_WHOLE = 1 << 63  # whole numbers stay below


def choices(config: type, name: str) -> tuple[str, ...]:
    """Returns the texts that a setting is one of, in the order of its annotation; () without."""
    hint = get_type_hints(config)[name]
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return get_args(kinds[0]) if get_origin(kinds[0]) is Literal else ()


def check_types(config: Any) -> None:
    """Checks every setting against its annotation; numpy's values become Python's own.

    Numbers are finite and whole ones fit 64 bits; a text is not empty; sizes are at least 1.
    """
    hints = get_type_hints(type(config))
    for field in fields(config):
        name, hint = field.name, hints[field.name]
        value = _python(getattr(config, name))
        object.__setattr__(config, name, value)  # frozen for everybody else
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if value is not None or NoneType not in kinds:
            _check_type(name, value, kinds[0], field.type)


def check_positive(config: object, *names: str) -> None:
    """Checks that numbers are above 0, where they are not None."""
    for name in names:
        if getattr(config, name) is not None:
            scalars.check_positive(name, getattr(config, name))


def check_range(config: object, least: float, most: float | None, *names: str) -> None:
    """Checks that numbers are from `least` to `most`; None is no limit."""
    for name in names:
        scalars.check_between(name, getattr(config, name), least, most)


def _python(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_python, value))
    return value.item() if isinstance(value, np.generic) else value


def _check_type(name: str, value: Any, kind: Any, annotation: object) -> None:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            known = list(get_args(kind))
            raise ValueError(f"{name}: expected one of {known}, got {_received(value)}")
    elif get_origin(kind) is tuple:
        if not isinstance(value, tuple) or not value:
            raise TypeError(f"{name}: expected a tuple of sizes, got {_received(value)}")
        if not all(_is_whole(size) and 1 <= size < _WHOLE for size in value):
            raise ValueError(f"{name}: expected sizes >= 1, got {_received(value)}")
    elif kind in (str, bool):
        if not isinstance(value, kind):
            raise TypeError(f"{name}: expected {annotation}, got {_received(value)}")
        if value == "":
            raise ValueError(f"{name}: expected a text that is not empty")
    else:
        _check_number(name, value, kind, annotation)


def _check_number(name: str, value: Any, kind: type, annotation: object) -> None:
    whole = _is_whole(value)
    if not whole and (kind is int or not isinstance(value, float)):
        raise TypeError(f"{name}: expected {annotation}, got {_received(value)}")
    if not whole and not math.isfinite(value):
        raise ValueError(f"{name}: expected a finite value, got {value}")
    if whole and not -_WHOLE <= value < _WHOLE:
        raise ValueError(f"{name}: expected a number of at most 63 bits, got {short(value)}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _received(value: object) -> str:
    """Names the value that came on one line, however long it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits
        text = "of any length"
    return f"{type(value).__name__} {short(text)}"
