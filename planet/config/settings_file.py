"""Reads a JSON file of settings that people edit; faults are named, never a traceback."""

from __future__ import annotations

import json
from typing import Any

from planet.errors.listing import listed

_LONGEST_INT = 20  # characters of 2^63 with its sign


def parse_settings(content: bytes) -> Any:
    """Reads JSON in UTF-8, without what readers understand in different ways.

    Raises:
      ValueError: the content is no such JSON; the message names the place.
    """
    if not content.strip():
        raise ValueError(f"expected settings in JSON, got an empty file of {len(content)} bytes")
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError("expected UTF-8 without a byte order mark, got one; save it without")
    try:
        return json.loads(
            content.decode(),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_whole,
        )
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise ValueError(f"expected UTF-8, got byte 0x{byte:02x} at {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"expected JSON, got a fault in {place}: {error.msg}") from error
    except RecursionError:
        raise ValueError("expected tables of settings, got too many levels of brackets") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = [name for name in table if names.count(name) > 1]
        raise ValueError(f"expected every setting once, got {listed(twice)} several times")
    return table


def _whole(text: str) -> int:
    if len(text) > _LONGEST_INT:
        raise ValueError(f"expected numbers of at most 63 bits, got one of {len(text):,} digits")
    return int(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"expected finite numbers, got {name}")
