"""Writes and reads the settings of a weight file: how to act with the weights beside them.

The text is JSON that a reader of a page of C++ understands whole (csrc/settings.h): one flat object
of numbers, strings, true, false, null and lists of numbers, strings being printable ASCII without
quotes and backslashes. Both readers refuse the same texts in the same words.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from planet.config import CEMConfig, ICEMConfig, ImaginationConfig, choices

_FLOAT = "a number within float64's range"


def _integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _numbers(value: Any) -> bool:
    return _number(value) or (
        isinstance(value, list) and 1 <= len(value) <= 512 and all(map(_number, value))
    )


def _one_of(*names: str) -> tuple[str, Callable[[Any], bool]]:
    expected = f"{', '.join(names[:-1])} or {names[-1]}"
    return expected, lambda value: isinstance(value, str) and value in names


# What each setting has to be, in words and as a function that tells.
_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("horizon", "candidates", "iterations", "topk", "keep", "action_repeat", "render_size"),
        ("an integer", _integer),
    ),
    **dict.fromkeys(
        (
            "initial_stddev", "epsilon", "colour", "decay", "momentum", "discount",
            "exploration_stddev",
        ),
        (_FLOAT, _number),
    ),
    **dict.fromkeys(
        ("temperature", "budget_ms"),
        (f"{_FLOAT}, or null", lambda value: value is None or _number(value)),
    ),
    **dict.fromkeys(("low", "high"), (f"{_FLOAT}, or a list of 1 to 512 of them", _numbers)),
    "spread": _one_of(*choices(CEMConfig, "spread")),
    **{name: _one_of(*choices(ICEMConfig, name)) for name in ("numerics", "output", "shift")},
    "state_noise": ("true or false", lambda value: isinstance(value, bool)),
    "precision": _one_of(*choices(ImaginationConfig, "precision")),
    "planner": ("a string", lambda value: isinstance(value, str)),
}  # fmt: skip


def plain_settings(settings: Mapping[str, Any], most: int) -> bytes:
    """Returns settings as text of at most `most` bytes; numpy and torch values become plain ones.

    Raises:
      TypeError, ValueError: a setting is of a wrong type, or the text cannot hold it; the message
        names it.
    """
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings: expected a mapping, got {type(settings).__name__}")
    for name, value in settings.items():
        if not isinstance(name, str) or not re.fullmatch(r"[ !#-\[\]-~]*", name):
            raise ValueError(f"settings: expected names of printable ASCII, got {name!r}")
        try:
            _pairs(_text({name: value}))
        except (AttributeError, TypeError, ValueError):
            raise ValueError(
                f"settings.{name}: expected a finite number, bool, None, string of printable ASCII "
                f"without quotes and backslashes, or list of finite numbers, got {value!r}"
            ) from None
    text = _text(dict(settings), indent=1)
    if len(text) > most:
        raise ValueError(f"settings: expected a text of at most {most} bytes, got {len(text)}")
    read_settings(text)
    return text


def read_settings(text: bytes) -> dict[str, Any]:
    """Reads the settings in a text; integers beyond int64, which no setting has, become floats.

    Raises:
      ValueError: the text is not of the form above, or a setting has a wrong type.
    """
    values: dict[str, Any] = {}
    for name, value in _pairs(text):
        if name in values:
            raise ValueError("settings: expected every name once")
        values[name] = value
        expected, fits = _SETTINGS.get(name, ("", None))
        if fits is not None and not fits(value):
            raise ValueError(f"settings.{name}: expected {expected}, got {_kind(value)}")
    return values


def _text(settings: dict[str, Any], indent: int | None = None) -> bytes:
    """Returns settings as JSON, numpy's and torch's values as Python's."""
    plain = json.dumps(settings, indent=indent, allow_nan=False, default=lambda v: v.tolist())
    return plain.encode()


def _flat(value: Any) -> bool:
    if isinstance(value, list):
        return all(type(item) in (int, float) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _pairs(text: bytes) -> tuple[tuple[str, Any], ...]:
    """Reads names and values in order; an object within the object would be a tuple as well."""
    try:
        pairs: Any = json.loads(
            text.decode("ascii"),
            object_pairs_hook=tuple,
            parse_int=lambda raw: int(raw) if len(raw) <= 20 else _float(raw),
            parse_float=_float,
            parse_constant=int,  # refuses NaN and Infinity
        )
    except (ValueError, RecursionError):
        pairs = None
    # Of the strings that JSON has, those with escapes and with DEL are not ours.
    ours = b"\\" not in text and b"\x7f" not in text
    if not ours or not isinstance(pairs, tuple) or not all(_flat(value) for _, value in pairs):
        raise ValueError(
            "settings: expected a flat JSON object of numbers, strings, true, false, null and "
            "lists of numbers"
        )
    return pairs


def _float(raw: str) -> float:
    """Returns infinity beyond float64's range, also for what would round to 0."""
    value = float(raw)
    digits = re.split("[eE]", raw)[0]
    return math.inf if value == 0.0 and re.search("[1-9]", digits) else value


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {str: "a string", list: "a list"}
    return kinds.get(type(value), "a number")
