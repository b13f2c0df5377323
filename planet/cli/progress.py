"""Reports progress: bars on a terminal, one line per finished stage elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from planet.cli.output import print_line
from planet.training.progress import Progress

_UNITS = {"seed": "episodes", "learn": "updates"}  # by the stage's first word; else steps
_SHORT = {"episode_return": "return"}


class Lines:
    """Prints one line when a stage ends, and messages; implements `Progress`."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._total = self._done = 0
        self._began = 0.0
        self._values: dict[str, float] = {}

    def start(self, stage: str, total: int) -> None:
        """A stage of `total` steps begins; 0 when the number is not known."""
        self._stage, self._total, self._done = stage, total, 0
        self._began = time.perf_counter()
        self._values = {}

    def advance(self, **values: float) -> None:
        """One step is done."""
        self._done += 1
        self._values = values or self._values

    def finish(self) -> None:
        """The stage ended; nothing happens if none is running."""
        if self._stage is None:
            return
        seconds = time.perf_counter() - self._began
        rate = self._done / max(seconds, 1e-9)
        done = f"{self._done} {unit_of(self._stage)} in {duration(seconds)} ({rate:.1f}/s)"
        values = "".join(f", {name} {value}" for name, value in shown(self._values).items())
        self.message(f"{self._stage}: {done}{values}")
        self._stage = None

    def message(self, text: str) -> None:
        """Prints a line at once, also into a pipe.

        Raises:
          OSError: the standard output cannot be written, or the caller closed it.
        """
        print_line(sys.stdout, text)


class Bars(Lines):
    """Draws a bar with rate and remaining time while a stage runs."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None

    def start(self, stage: str, total: int) -> None:
        """A stage of `total` steps begins; 0 when the number is not known."""
        from tqdm import tqdm

        super().start(stage, total)
        self._bar = tqdm(
            desc=stage, total=total or None, unit=f" {unit_of(stage)}", leave=False,
            dynamic_ncols=True, file=sys.stderr,
        )  # fmt: skip

    def advance(self, **values: float) -> None:
        """One step is done."""
        super().advance(**values)
        self._bar.set_postfix(shown(self._values), refresh=False)
        self._bar.update()

    def finish(self) -> None:
        """The stage ended; the bar gives way to the finished stage's line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        super().finish()

    def message(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._bar is None:
            super().message(text)
        else:
            self._bar.write(text, file=sys.stdout)


def make_progress() -> Progress:
    """Bars when a person watches, lines when the output goes to a file or a pipe."""
    streams = (sys.stdout, sys.stderr)
    watched = all(stream.isatty() for stream in streams)
    return Bars() if watched else Lines()


def unit_of(stage: str) -> str:
    """Names the steps of a stage."""
    return _UNITS.get(stage.partition(" ")[0], "steps")


def shown(values: dict[str, float]) -> dict[str, str]:
    """Values as people read them."""
    return {_SHORT.get(name, name): f"{value:.4g}" for name, value in values.items()}


def duration(seconds: float) -> str:
    """Time as people read it: 0.8 s, 2 min 05 s, 3 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
