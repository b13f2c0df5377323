"""Times several calls side by side: interleaved rounds, medians, and ratios paired by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Call = Callable[[], Any]


@dataclass(frozen=True)
class Samples:
    """Seconds of every call, one per round."""

    wall: dict[str, list[float]]

    @property
    def rounds(self) -> int:
        """Counts them."""
        return len(next(iter(self.wall.values())))

    def summary(self, name: str) -> dict[str, float]:
        """Milliseconds of one call."""
        ordered = sorted(1e3 * value for value in self.wall[name])
        return {
            "median_ms": statistics.median(ordered),
            "min_ms": ordered[0],
            "p95_ms": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        }

    def ratio(self, slow: str, fast: str) -> dict[str, float]:
        """Says how many times as long `slow` takes as `fast`."""
        pairs = zip(self.wall[slow], self.wall[fast], strict=True)
        return {
            "median_of_paired_ratios": statistics.median(a / b for a, b in pairs),
            "ratio_of_minima": min(self.wall[slow]) / min(self.wall[fast]),
        }

    def fastest(self, names: list[str]) -> str:
        """The name with the smallest minimum, which a busy machine disturbs least."""
        return min(names, key=lambda name: min(self.wall[name]))


def interleave(
    calls: dict[str, Call],
    seconds: float,
    least: int = 3,
    most: int = 1000,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Runs every call once a round, every other round in reverse, for about so many seconds.

    Args:
      calls: by name.
      seconds: for all rounds together.
      least: rounds at least.
      most: rounds at most.
      warm_up: rounds that are not counted.
      clock: that times the calls.
    """
    for _ in range(warm_up):
        for call in calls.values():
            call()
    samples = Samples({name: [] for name in calls})
    end = time.perf_counter() + seconds
    while samples.rounds < least or (time.perf_counter() < end and samples.rounds < most):
        names = list(calls) if samples.rounds % 2 == 0 else list(reversed(calls))
        for name in names:
            began = clock()
            calls[name]()
            samples.wall[name].append(clock() - began)
    return samples
