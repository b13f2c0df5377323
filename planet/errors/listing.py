"""Puts lists of any length into one line of a message."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN = 3
_LONGEST = 80  # characters of one item


def listed(items: Iterable[object]) -> str:
    """Names the first three items and says how many more there are.

    Args:
      items: texts or numbers; what cannot be printed in them is escaped.

    Returns:
      "a", "a, b, c" or "a, b, c and 99,997 more".
    """
    texts = [*items]
    shown = ", ".join(short(text) for text in texts[:_SHOWN])
    more = len(texts) - _SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def short(item: object, longest: int = _LONGEST) -> str:
    """Returns an item as printable text of at most `longest` characters."""
    try:
        text = str(item)
    except ValueError:  # an int of more digits than Python prints
        return "an int of thousands of digits"
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]
