"""Sums up the times of one part of the control step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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

    def summary(self) -> dict[str, float]:
        """Returns p50 to p99, max, mean, jitter (p99 - p50) and stddev, in milliseconds."""
        values = np.asarray(self.milliseconds)
        p50, p95, p99 = (float(np.percentile(values, p)) for p in (50, 95, 99))
        return {
            "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": float(values.max()),
            "mean_ms": float(values.mean()), "jitter_ms": p99 - p50,
            "stddev_ms": float(values.std()),
        }  # fmt: skip

    def missed(self, rate_hz: float) -> float:
        """Returns the share of steps that take longer than a period of the control rate."""
        return float(np.mean(np.asarray(self.milliseconds) > 1e3 / rate_hz))

    def speedup(self, other: Stage) -> float:
        """Divides the times of `other` by these step by step; returns the ratios' median."""
        return float(np.median(np.asarray(other.milliseconds) / np.asarray(self.milliseconds)))
