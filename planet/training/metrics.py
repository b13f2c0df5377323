"""Numbers of a run over time: one JSON object per line, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from planet.atomic import atomic_write

_LOGGER = logging.getLogger("planet")
METRICS_NAME = "metrics.jsonl"


class MetricsWriter:
    """Appends lines to `metrics.jsonl`; a line is on its way to disk when `write` returns.

    A line is one flat JSON object: counters first, then scalars. JSON has no NaN and no
    infinities, so a scalar that is not finite becomes null, and `read_metrics` returns it as NaN.
    Opening drops the part of a line that a killed process left at the end.

    A run that resumes from a checkpoint calls `truncate_after` with a counter that the checkpoint
    remembers; what was written later is dropped and computed again. A counter that grows with
    every line makes this exact.

    Attributes:
      path: the JSON lines file.
    """

    def __init__(self, directory: Path | str, *, tensorboard: bool = True) -> None:
        """Opens or creates the metrics of a run.

        Args:
          directory: the run's directory; created if it does not exist.
          tensorboard: also write scalars to `directory/tensorboard`, against the first counter,
            if TensorBoard is installed; without it there is JSON only.
        """
        self.path = Path(directory) / METRICS_NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._use_tensorboard = tensorboard
        self._summary: Any = None
        self._purge_step: int | None = None
        _repair(self.path)

    def write(self, counters: Mapping[str, int], scalars: Mapping[str, float | Tensor]) -> None:
        """Appends one line.

        Args:
          counters: where the run is (updates, episodes, environment steps, ...), at least one;
            the first is TensorBoard's step.
          scalars: numbers or tensors with one element.

        Raises:
          TypeError: a counter is not an int, or a scalar is not a number.
          ValueError: there is no counter, or a name is used twice.
          OSError: the disk is full, ...
        """
        line = _line(counters, scalars)
        data = (json.dumps(line, allow_nan=False) + "\n").encode()
        with open(self.path, "ab", buffering=0) as file:
            written = file.write(data)
            if written != len(data):  # a full disk: leave no part of a line
                file.truncate(file.tell() - written)
                raise OSError(f"{self.path}: wrote {written} of {len(data)} bytes")
        self._write_summary(line, len(counters))

    def truncate_after(self, counter: str, value: int) -> None:
        """Drops every line whose counter is larger than a value, atomically.

        Args:
          counter: name of the counter; lines without it stay.
          value: largest value to keep.
        """
        if not self.path.exists():
            return
        content = self.path.read_bytes().splitlines(keepends=True)
        lines = [_parse(data) or {} for data in content]
        keep = [not line.get(counter, value) > value for line in lines]
        if all(keep):
            return
        with atomic_write(self.path) as file:
            file.writelines(data for data, kept in zip(content, keep, strict=True) if kept)
        self.close()
        self._purge_step = next(iter(lines[keep.index(False)].values()))

    def sync(self) -> None:
        """Makes all lines durable; call it before saving a checkpoint that counts on them."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Closes TensorBoard's file."""
        if self._summary is not None:
            self._summary.close()
            self._summary = None

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write_summary(self, line: dict[str, float | None], counters: int) -> None:
        if not self._use_tensorboard:
            return
        if self._summary is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._use_tensorboard = False
                return
            self._summary = SummaryWriter(
                str(self.path.parent / "tensorboard"), purge_step=self._purge_step
            )
        step, *_ = line.values()
        for name, value in list(line.items())[counters:]:
            if value is not None:
                self._summary.add_scalar(name, value, step)


def read_metrics(path: Path | str) -> list[dict[str, float]]:
    """Reads the lines of a run's metrics.

    Args:
      path: the JSON lines file, or the run's directory.

    Returns:
      One dict per line, in order; null becomes NaN. A last line that was cut short is left out;
      a damaged line elsewhere is left out with a warning that names it.

    Raises:
      OSError: the file cannot be opened.
    """
    path = Path(path)
    path = path / METRICS_NAME if path.is_dir() else path
    content = path.read_bytes().splitlines(keepends=True)
    result = []
    for number, data in enumerate(content, start=1):
        line = _parse(data)
        if line is not None:
            result.append({k: math.nan if v is None else v for k, v in line.items()})
        elif number < len(content):
            _LOGGER.warning("%s, line %d is damaged and left out", path, number)
    return result


def _line(
    counters: Mapping[str, int], scalars: Mapping[str, float | Tensor]
) -> dict[str, float | None]:
    """Returns the JSON object of a line."""
    if not counters:
        raise ValueError("counters: expected at least one, got none")
    line: dict[str, float | None] = {}
    for name, counter in counters.items():
        if not isinstance(counter, int) or isinstance(counter, bool):
            raise TypeError(f"counters[{name!r}]: expected int, got {type(counter).__name__}")
        line[name] = counter
    for name, scalar in scalars.items():
        if name in line:
            raise ValueError(f"scalars[{name!r}]: expected another name than the counter's")
        if isinstance(scalar, str):
            raise TypeError(f"scalars[{name!r}]: expected a number, got {scalar!r}")
        try:
            value = float(scalar)
        except (TypeError, ValueError, RuntimeError) as error:
            kind = type(scalar).__name__
            raise TypeError(f"scalars[{name!r}]: expected one number, got {kind}") from error
        line[name] = value if math.isfinite(value) else None
    return line


def _parse(data: bytes) -> dict[str, Any] | None:
    """Returns the object of a complete line, None for a damaged one."""
    if not data.endswith(b"\n"):
        return None
    try:
        line = json.loads(data)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _repair(path: Path) -> None:
    """Cuts damaged lines off the end of the file."""
    if not path.exists():
        return
    content = path.read_bytes().splitlines(keepends=True)
    intact = len(content)
    while intact and _parse(content[intact - 1]) is None:
        intact -= 1
    excess = sum(map(len, content[intact:]))
    if excess:
        _LOGGER.warning("%s: cut an incomplete line off the end (%d bytes)", path, excess)
        os.truncate(path, path.stat().st_size - excess)
