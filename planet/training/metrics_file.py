"""Reads lines of metrics as they stand in the file: flat JSON objects, numbered from 1.

A counter's name is a word (`updates`); a scalar's has a slash (`train/total`).
"""

from __future__ import annotations

import codecs
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from planet.errors.listing import listed
from planet.storage.atomic import read_file

_LOGGER = logging.getLogger("planet")
METRICS_NAME = "metrics.jsonl"
NUMBER = "line"  # the counter that numbers the lines
Line = dict[str, float | None]


class LostLinesError(ValueError):
    """Lines of metrics that a run's checkpoint counts on are missing, doubled or changed."""


def read_metrics(path: Path | str) -> list[dict[str, float]]:
    """Reads a run's metrics, given its directory or the file; warns of what is wrong with them.

    Returns:
      One dict per line, in order; null becomes NaN. A last line that was cut short is left out, and
      so are damaged lines elsewhere. Lines that are doubled are all there.

    Raises:
      ValueError: the path is no regular file.
      OSError: the file cannot be opened.
    """
    path = Path(path)
    path = path / METRICS_NAME if path.is_dir() else path
    content = split_lines(read_file(path))
    lines = [parse_line(data) for data in content]
    whole = len(content) - (1 if content and is_cut_short(content[-1]) else 0)
    damaged = [number for number, line in enumerate(lines[:whole], start=1) if line is None]
    if damaged:
        _LOGGER.warning("%s: damaged and left out: %s of the file", path, _named(_runs(damaged)))
    wrong = wrong_numbers(numbers(lines))
    if wrong:
        _LOGGER.warning("%s: %s", path, wrong)
    return [
        {name: math.nan if value is None else value for name, value in line.items()}
        for line in lines
        if line is not None
    ]


def split_lines(content: bytes) -> list[bytes]:
    r"""Splits at \n alone, which stays at the end of every line."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def parse_line(data: bytes) -> Line | None:
    """Returns the object of a line, None for a damaged one.

    A last line may lack its line break; Windows' line breaks and a byte order mark are no damage.
    """
    try:
        line = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and all(map(_is_number, line.values())) else None


def as_written(data: bytes) -> bytes:
    """Returns a line as it was before an editor put its own marks around it."""
    return data.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n") + b"\n"


def is_cut_short(data: bytes) -> bool:
    """Tells whether a killed process, or a power cut, left this at the end of the file."""
    return not data.endswith(b"\n") and parse_line(data) is None


def numbers(lines: Iterable[Line | None]) -> list[int]:
    """Returns the numbers of the lines that have one, in order."""
    found: Iterable[object] = (line.get(NUMBER) for line in lines if line is not None)
    return [number for number in found if isinstance(number, int)]


def wrong_numbers(found: Sequence[int], last: int | None = None) -> str:
    """Says which of the lines 1 to `last` (None: the largest) are missing, doubled or disordered.

    Returns a text such as "missing: lines 3 to 5, 9, more than once: line 7"; empty: nothing is.
    """
    last = max(found, default=0) if last is None else last
    counts = Counter(found)
    present = sorted(number for number in counts if 1 <= number <= last)
    gaps = zip([0, *present], [*present, last + 1], strict=True)
    missing = [(before + 1, after - 1) for before, after in gaps if after - before > 1]
    doubled = [number for number in present if counts[number] > 1]
    faults = []
    if missing:
        faults.append(f"missing: {_named(missing)}")
    if doubled:
        faults.append(f"more than once: {_named(_runs(doubled))}")
    if not faults and list(found) != sorted(found):
        faults.append("lines that are not in order")
    return ", ".join(faults)


def _runs(ascending: Sequence[int]) -> list[tuple[int, int]]:
    """Finds the first and last of every run of consecutive numbers."""
    groups = groupby(enumerate(ascending), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in group] for _, group in groups]
    return [(run[0], run[-1]) for run in runs]


def _named(runs: Sequence[tuple[int, int]]) -> str:
    """Returns "line 3" or "lines 3 to 5, 9"."""
    texts = [f"{first}" if first == last else f"{first} to {last}" for first, last in runs]
    return f"{'line' if texts[0].isdigit() and len(texts) == 1 else 'lines'} {listed(texts)}"


def _is_number(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 1 << 63
    return value is None or isinstance(value, float)
