"""Writes numbers of a run over time: JSON lines, and TensorBoard where it is installed."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from planet.errors.listing import listed, short
from planet.errors.scalars import whole_number
from planet.storage.atomic import atomic_write, make_directory, named_errors, read_file, replaceable
from planet.training.event_file import EventFile, Points
from planet.training.metrics_file import (
    METRICS_NAME,
    NUMBER,
    Line,
    LostLinesError,
    as_written,
    is_cut_short,
    numbers,
    parse_line,
    read_metrics,
    split_lines,
    wrong_numbers,
)

__all__ = ["METRICS_NAME", "LostLinesError", "MetricsWriter", "read_metrics"]

_LOGGER = logging.getLogger("planet")
_OVER_UPDATES = "train/"  # curves of the optimiser stand over updates


class MetricsWriter:
    """Appends lines to `metrics.jsonl`; a line is on its way to disk when `write` returns.

    A line is one flat JSON object: counters first, then scalars. JSON has no NaN and no
    infinities, so a scalar that is not finite becomes null, and `read_metrics` returns it as NaN.

    TensorBoard shows `train/...` over the counter `updates` and everything else over the first
    counter. Its file is made anew from the lines whenever a writer begins to write, so the two say
    the same after any number of kills. Where TensorBoard cannot be had there is JSON only.

    A run that goes on from a checkpoint calls `go_back` with the number of lines that the
    checkpoint remembers; what was written later is dropped and computed again.

    Attributes:
      path: the JSON lines file.
    """

    def __init__(self, directory: Path | str, *, tensorboard: bool = True) -> None:
        """Chooses the metrics of a run, whose directory is made; nothing is written yet.

        Raises:
          ValueError: the JSON lines file is there and no regular file.
          OSError: the directory cannot be made or written.
        """
        self.path = Path(directory) / METRICS_NAME
        make_directory(self.path.parent)
        replaceable(self.path)
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        self._use_tensorboard = tensorboard
        self._events: EventFile | None = None
        self._checksum: int | None = None  # of the file; None before it is read

    @property
    def checksum(self) -> int:
        """Returns the CRC-32 of all lines."""
        if self._checksum is None:
            self._checksum = self._repair()
        return self._checksum

    def write(self, counters: Mapping[str, int], scalars: Mapping[str, float | Tensor]) -> None:
        """Appends one line.

        Args:
          counters: where the run is (environment steps, updates, ...), at least one.
          scalars: numbers or tensors with one element; names with a slash, as in "train/kl".

        Raises:
          TypeError: a counter is not an int, or a scalar is not a number.
          ValueError: there is no counter, or a name has a slash too many or too few.
          OSError: the disk is full, ...
        """
        line = _line(counters, scalars)
        data = (json.dumps(line, allow_nan=False) + "\n").encode()
        checksum = zlib.crc32(data, self.checksum)
        with named_errors(self.path), open(self.path, "ab", buffering=0) as file:
            written = file.write(data)
            if written != len(data):  # a full disk: leave no part of a line
                file.truncate(file.tell() - written)
                raise OSError(errno.ENOSPC, f"wrote {written} of {len(data)} bytes")
        self._checksum = checksum
        self._show([line])

    def go_back(
        self, lines: int, checksum: int | None = None, *, accept_losses: bool = False
    ) -> None:
        """Drops what follows the first `lines` lines, which must be all there.

        Args:
          lines: number of lines, counted by the counter `line`; lines without it stay.
          checksum: of these lines, as `checksum` gave it; None: their numbers alone are compared.
          accept_losses: go on with what there is of these lines, with a warning.

        Raises:
          LostLinesError: lines are missing, doubled or changed; nothing was written then.
        """
        content = split_lines(self._content())
        kept = []
        for data in content:
            number = (parse_line(data) or {}).get(NUMBER)
            if not is_cut_short(data) and not (isinstance(number, int) and number > lines):
                kept.append(as_written(data))
        lost = _losses(kept, lines, checksum)
        if lost:
            message = f"{self.path}: expected the {lines:,} lines of the checkpoint, {lost}; "
            message += "restore the file, or give --accept-losses (accept_losses=True)"
            if not accept_losses:
                raise LostLinesError(message)
            _LOGGER.warning("%s: the run goes on without them", message)
        self._checksum = self._keep(kept, content)
        self._events = None
        if content or (self.path.parent / "tensorboard").is_dir():
            self._show([])

    def sync(self) -> None:
        """Makes all lines durable; call it before saving a checkpoint that counts on them."""
        if self.path.exists():
            with named_errors(self.path), open(self.path, "rb") as file:
                os.fsync(file.fileno())

    def _content(self) -> bytes:
        return read_file(self.path) if self.path.exists() else b""

    def _repair(self) -> int:
        """Ends the file with a whole line; returns its checksum."""
        content = split_lines(self._content())
        if content and is_cut_short(content[-1]):
            size = len(content[-1])
            _LOGGER.warning("%s: cut an incomplete line off the end (%d bytes)", self.path, size)
        return self._keep([as_written(d) for d in content if not is_cut_short(d)], content)

    def _keep(self, kept: list[bytes], content: list[bytes]) -> int:
        """Makes the file's lines `kept` where they are others; returns their checksum."""
        if kept != content:
            with atomic_write(self.path) as file:
                file.writelines(kept)
        return zlib.crc32(b"".join(kept))

    def _show(self, lines: list[Line]) -> None:
        """Writes lines for TensorBoard, which must not endanger the run whatever it does."""
        if not self._use_tensorboard:
            return
        try:
            if self._events is None:
                everything = map(parse_line, split_lines(self._content()))
                points = [point for line in everything if line for point in _points(line)]
                self._events = EventFile(self.path.parent / "tensorboard", points)
                if foreign := self._events.foreign:
                    _LOGGER.warning(
                        "%s: %d event files of other writers stay, whose curves TensorBoard shows, "
                        "too: %s", self.path.parent / "tensorboard", len(foreign), listed(foreign),
                    )  # fmt: skip
            else:
                for line in lines:
                    for step, values in _points(line):
                        self._events.add(step, values)
        except Exception as error:
            self._use_tensorboard, self._events = False, None
            if not (isinstance(error, ModuleNotFoundError) and error.name == "tensorboard"):
                _LOGGER.warning(
                    "TensorBoard's files are not written, metrics.jsonl has everything: %s: %s",
                    type(error).__name__, short(error, 500),
                )  # fmt: skip


def _points(line: Line) -> list[Points]:
    """Returns the curves' points of a line."""
    first = next((value for name, value in line.items() if "/" not in name), None)
    found: dict[int, dict[str, float]] = {}
    for name, value in line.items():
        if "/" in name and value is not None:
            step = line.get("updates", first) if name.startswith(_OVER_UPDATES) else first
            found.setdefault(int(step or 0), {})[name] = value
    return list(found.items())


def _losses(kept: list[bytes], lines: int, checksum: int | None) -> str:
    """Says what is wrong with the lines that a checkpoint counts on; empty: nothing."""
    if checksum is not None and zlib.crc32(b"".join(kept)) == checksum:
        return ""
    wrong = wrong_numbers(numbers(map(parse_line, kept)), lines)
    if wrong or checksum is None:
        return wrong
    return "got others: they were changed since it was saved"


def _line(counters: Mapping[str, int], scalars: Mapping[str, float | Tensor]) -> Line:
    """Returns the JSON object of a line."""
    if not counters:
        raise ValueError("counters: expected at least one, got none")
    line: Line = {}
    for name, counter in counters.items():
        if "/" in name:
            raise ValueError(f"counters[{name!r}]: expected a name without a slash")
        line[name] = whole_number(f"counters[{name!r}]", counter)
    for name, scalar in scalars.items():
        if "/" not in name:
            raise ValueError(f"scalars[{name!r}]: expected a name with a slash, as in 'train/kl'")
        if isinstance(scalar, str):
            raise TypeError(f"scalars[{name!r}]: expected a number, got {scalar!r}")
        try:
            value = float(scalar)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            kind = type(scalar).__name__
            raise TypeError(f"scalars[{name!r}]: expected one number, got {kind}") from error
        line[name] = value if math.isfinite(value) else None
    return line
