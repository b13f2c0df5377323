"""Lets a long task say where it stands; the command line draws bars, a library is quiet."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Protocol

_LOGGER = logging.getLogger("planet")


class Progress(Protocol):
    """Reports stages, each with a number of equal steps; a subclass without methods is silent."""

    def start(self, stage: str, total: int) -> None:
        """Says that a stage of `total` steps begins."""

    def advance(self, **values: float) -> None:
        """Says that one step is done; `values` are worth showing."""

    def finish(self) -> None:
        """Says that the stage ended, completed or not."""

    def remaining(self, seconds: float, whole: bool) -> None:
        """Says how long all stages still take together; at least so long unless `whole`."""

    def message(self, text: str) -> None:
        """Says one line to the reader."""


class Guarded:
    """Passes reports on until one fails; then says so once and stays silent.

    A terminal that is gone, a closed pipe, a full disk or a fault in a reporter must not end what
    it reports about. Interrupts pass.

    Attributes:
      broken: whether a report failed.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.broken = False

    def start(self, stage: str, total: int) -> None:
        """See `Progress`."""
        self._report("start", stage, total)

    def advance(self, **values: float) -> None:
        """See `Progress`."""
        self._report("advance", **values)

    def finish(self) -> None:
        """See `Progress`."""
        self._report("finish")

    def remaining(self, seconds: float, whole: bool) -> None:
        """See `Progress`."""
        self._report("remaining", seconds, whole)

    def message(self, text: str) -> None:
        """See `Progress`."""
        self._report("message", text)

    def _report(self, what: str, /, *arguments: Any, **values: float) -> None:
        if self.broken or self._progress is None:
            return
        try:
            getattr(self._progress, what)(*arguments, **values)
        except Exception as error:
            self.broken = True
            with suppress(Exception):
                _LOGGER.warning(
                    "progress cannot be shown any more (%s: %s); the work goes on",
                    type(error).__name__, error,
                )  # fmt: skip


def guarded(progress: Progress | None) -> Guarded:
    """Makes a reporter harmless; None reports nothing."""
    return progress if isinstance(progress, Guarded) else Guarded(progress)
