"""How a long task says where it stands; the command line draws bars, a library stays quiet."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A reporter of stages, each with a number of equal steps."""

    def start(self, stage: str, total: int) -> None:
        """A stage of `total` steps begins."""

    def advance(self, **values: float) -> None:
        """One step is done; `values` are worth showing."""

    def finish(self) -> None:
        """The stage ended, completed or not."""

    def message(self, text: str) -> None:
        """One line for the reader."""


class Silent:
    """Reports nothing."""

    def start(self, stage: str, total: int) -> None:
        """Does nothing."""

    def advance(self, **values: float) -> None:
        """Does nothing."""

    def finish(self) -> None:
        """Does nothing."""

    def message(self, text: str) -> None:
        """Does nothing."""
