"""The settings of a weight file as text: how to plan with the weights beside it.

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

_SPACE = r"[ \t\n\r]*"
_STRING = r'"[ !#-\[\]-~]*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_LIST = rf"\[{_SPACE}(?:{_NUMBER}{_SPACE}(?:,{_SPACE}{_NUMBER}{_SPACE})*)?\]"
_OPEN = re.compile(rf"{_SPACE}{{{_SPACE}")
_PAIR = re.compile(
    rf"({_STRING}){_SPACE}:{_SPACE}({_STRING}|{_LIST}|{_NUMBER}|null|true|false){_SPACE}"
)
_COMMA = re.compile(rf",{_SPACE}")
_CLOSE = re.compile(rf"}}{_SPACE}\Z")
_TEXT = re.compile(_STRING)
_FLOAT = "a number within float64's range"


def _integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _numbers(value: Any) -> bool:
    return _number(value) or (
        isinstance(value, list) and 1 <= len(value) <= 512 and all(map(_number, value))
    )


def _one_of(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


# What each setting has to be, and a function that tells.
_SETTINGS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(
        ("horizon", "candidates", "topk", "iterations", "action_repeat"), ("an integer", _integer)
    ),
    **dict.fromkeys(("initial_stddev", "epsilon", "discount"), (_FLOAT, _number)),
    **dict.fromkeys(("low", "high"), (f"{_FLOAT}, or a list of 1 to 512 of them", _numbers)),
    "spread": ("population or mean_absolute", _one_of("population", "mean_absolute")),
    "state_noise": ("true or false", lambda value: isinstance(value, bool)),
    "precision": (
        "fp32, int8, fp16 or bf16", _one_of("fp32", "int8", "fp16", "bf16")),
    "budget_ms": (f"{_FLOAT}, or null", lambda value: value is None or _number(value)),
}  # fmt: skip


def plain_settings(settings: Mapping[str, Any], most: int) -> bytes:
    """The text of settings, of at most `most` bytes; numbers, lists and arrays become plain ones.

    Raises:
      TypeError, ValueError: a setting is of a wrong type, or the text cannot hold it; the message
        names it.
    """
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings: expected a mapping, got {type(settings).__name__}")
    plain = {name: _plain(name, value) for name, value in settings.items()}
    text = json.dumps(plain, indent=1).encode()
    if len(text) > most:
        raise ValueError(f"settings: expected a text of at most {most} bytes, got {len(text)}")
    read_settings(text)
    return text


def read_settings(text: bytes) -> dict[str, Any]:
    """The settings in a text; whole numbers beyond int64, which no setting has, become floats.

    Raises:
      ValueError: the text is not of the form above, or a setting has a wrong type.
    """
    values: dict[str, Any] = {}
    for name, raw in _pairs(text.decode("latin-1")):
        if name in values:
            raise ValueError("settings: expected every name once")
        value = values[name] = _value(raw)
        expected, fits = _SETTINGS.get(name, ("", None))
        if fits is not None and not fits(value):
            raise ValueError(f"settings.{name}: expected {expected}, got {_kind(raw)}")
    return values


def _plain(name: Any, value: Any) -> Any:
    """What JSON has for a value."""
    if not isinstance(name, str) or not _TEXT.fullmatch(f'"{name}"'):
        raise ValueError(f"settings: expected names of printable ASCII, got {name!r}")
    if hasattr(value, "tolist"):  # of numpy and torch
        value = value.tolist()
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    for item in items:
        if isinstance(value, (list, tuple)) and type(item) not in (int, float):
            raise TypeError(f"settings.{name}: expected numbers in a list, got {item!r}")
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"settings.{name}: expected finite numbers, got {item!r}")
        if isinstance(item, str) and not _TEXT.fullmatch(f'"{item}"'):
            raise ValueError(
                f"settings.{name}: expected printable ASCII without quotes and backslashes, got "
                f"{item!r}"
            )
        if item is not None and not isinstance(item, (bool, int, float, str)):
            raise TypeError(
                f"settings.{name}: expected a number, string, bool, None or list of numbers, got "
                f"{type(item).__name__}"
            )
    return items if isinstance(value, (list, tuple)) else value


def _pairs(text: str) -> list[tuple[str, str]]:
    """Names and values as they stand in the text."""
    found: list[tuple[str, str]] = []
    here = _OPEN.match(text)
    while here is not None:
        if not found and _CLOSE.match(text, here.end()):
            return found
        here = _PAIR.match(text, here.end())
        if here is not None:
            found.append((here[1][1:-1], here[2]))
            if _CLOSE.match(text, here.end()):
                return found
            here = _COMMA.match(text, here.end())
    raise ValueError(
        "settings: expected a flat JSON object of numbers, strings, true, false, null and lists of "
        "numbers"
    )


def _value(raw: str) -> Any:
    if raw[0] == '"':
        return raw[1:-1]
    if raw[0] == "[":
        return [_number_of(item) for item in re.findall(_NUMBER, raw)]
    constants = {"null": None, "true": True, "false": False}
    return constants[raw] if raw in constants else _number_of(raw)


def _number_of(raw: str) -> int | float:
    """Infinite where float64 does not reach, also for what would round to 0."""
    if len(raw) <= 20 and re.fullmatch("-?[0-9]+", raw):
        return int(raw)
    value = float(raw)
    digits = re.split("[eE]", raw)[0]
    return math.inf if value == 0.0 and re.search("[1-9]", digits) else value


def _kind(raw: str) -> str:
    return {'"': "a string", "[": "a list"}.get(raw[0], raw if raw[0] in "ntf" else "a number")
