"""Sums up the times of one part of the control step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from planet.profiling.quantiles import Estimate, paired_ratio, quantile

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Stage:
    """Holds the times of one part of the control step.

    Attributes:
      name: "act", the whole of `Policy.act`; one of `planet.acting.timeline.STAGES`; "around", what
        is in `act` but in no stage; "render" or "environment", beside it.
      milliseconds: of the wall's clock, one per step.
      cpu_milliseconds: of CPU time that all threads of the process used meanwhile, one per step.
    """

    name: str
    milliseconds: tuple[float, ...]
    cpu_milliseconds: tuple[float, ...]

    @cached_property
    def percentiles(self) -> dict[int, Estimate | None]:
        """Milliseconds by percentile, None where the steps are too few for its interval."""
        return {p: quantile(self.milliseconds, p / 100) for p in PERCENTILES}

    @cached_property
    def cpu(self) -> Estimate | None:
        """Median of the CPU milliseconds, None where the steps are too few for its interval."""
        return quantile(self.cpu_milliseconds, 0.5)

    def summary(self) -> dict[str, Any]:
        """Returns JSON values: percentiles and their 95 % intervals, maximum, median CPU time."""
        summary: dict[str, Any] = {}
        for p, found in self.percentiles.items():
            summary[f"p{p}_ms"] = None if found is None else found.value
            summary[f"p{p}_interval_ms"] = None if found is None else [found.low, found.high]
        cpu = None if self.cpu is None else self.cpu.value
        return {**summary, "max_ms": max(self.milliseconds), "cpu_p50_ms": cpu}

    def speedup(self, other: Stage) -> Estimate | None:
        """Divides the times of `other` by these step by step; estimates the ratios' median."""
        if min(self.milliseconds) <= 0.0:
            return None
        return paired_ratio(other.milliseconds, self.milliseconds)
