"""Reports progress: bars on a terminal, and one line per finished stage everywhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from planet.cli.output import print_line

_UNITS = {"seed": "episodes", "learn": "updates"}  # by the stage's first word; else steps
_SHORT = {"episode_return": "return"}
_LEAST = 60.0  # seconds; what takes at least less says nothing


class Lines:
    """Prints messages, and a line when a stage ends; implements `Progress`.

    Args:
      bars: draws a bar with rate and remaining time while a stage runs.
    """

    def __init__(self, bars: bool = False) -> None:
        self.bars = bars
        self._bar: Any = None
        self._stage: str | None = None
        self._done = 0
        self._began = 0.0
        self._values: dict[str, float] = {}
        self._remaining = ""

    def start(self, stage: str, total: int) -> None:
        """Begins a stage of `total` steps; 0 when the number is not known."""
        self._stage, self._done, self._began = stage, 0, time.perf_counter()
        self._values = {}
        if self.bars:
            from tqdm import tqdm

            self._bar = tqdm(
                desc=stage, total=total or None, unit=f" {_unit(stage)}", leave=False,
                dynamic_ncols=True, file=sys.stderr,
            )  # fmt: skip

    def advance(self, **values: float) -> None:
        """Counts a step; shows the values of the last one that had any."""
        self._done += 1
        self._values = values or self._values
        if self._bar is not None:
            self._bar.set_postfix_str(self._told(), refresh=False)
            self._bar.update()

    def finish(self) -> None:
        """Ends the stage, whose bar gives way to a line; does nothing if none is running."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._stage is None:
            return
        seconds = time.perf_counter() - self._began
        rate = self._done / max(seconds, 1e-9)
        done = f"{self._done} {_unit(self._stage)} in {duration(seconds)} ({rate:.1f}/s)"
        told = self._told()
        self.message(f"{self._stage}: {done}" + (f", {told}" if told else ""))
        self._stage = None

    def remaining(self, seconds: float, whole: bool) -> None:
        """Shows with the next step, and when the stage ends, when the run ends."""
        worth = seconds > 0 if whole else seconds >= _LEAST
        self._remaining = f"run ends in {'about' if whole else 'more than'} " if worth else ""
        self._remaining += rough(seconds) if worth else ""

    def message(self, text: str) -> None:
        """Prints a line at once, above the bar and also into a pipe.

        Raises:
          OSError: the standard output cannot be written, or the caller closed it.
        """
        if self._bar is None:
            print_line(sys.stdout, text)
        else:
            self._bar.write(text, file=sys.stdout)

    def _told(self) -> str:
        """Names the values of the last step, and the remaining time of the run."""
        values = [f"{_SHORT.get(name, name)} {value:.4g}" for name, value in self._values.items()]
        return ", ".join([*values, *filter(None, [self._remaining])])


def make_progress() -> Lines:
    """Draws bars when a person watches, and prints lines alone into a file or a pipe."""
    return Lines(bars=all(stream.isatty() for stream in (sys.stdout, sys.stderr)))


def duration(seconds: float) -> str:
    """Writes a time as people read it: 0.8 s, 2 min 05 s, 3 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def rough(seconds: float) -> str:
    """Writes a time that is an estimate: 40 s, 9 min, 3 h 07 min."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _unit(stage: str) -> str:
    return _UNITS.get(stage.partition(" ")[0], "steps")
