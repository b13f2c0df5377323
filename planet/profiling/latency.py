"""Wall times of one part of the control step, and the numbers that sum them up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLUMNS = {
    "p50": "p50_ms", "p95": "p95_ms", "p99": "p99_ms", "max": "max_ms", "mean": "mean_ms",
    "jitter": "jitter_ms", "stddev": "stddev_ms",
}  # fmt: skip
"""Titles of a table's columns, and the names of their values in `Stage.summary`."""


@dataclass(frozen=True)
class Stage:
    """Wall times of one part of the control step.

    Attributes:
      name: "render", "filter", "plan" or "act", "environment" or "total".
      milliseconds: one per step.
    """

    name: str
    milliseconds: tuple[float, ...]

    def summary(self) -> dict[str, float]:
        """p50, p95, p99, max, mean, jitter (p99 - p50) and standard deviation, in milliseconds."""
        values = np.asarray(self.milliseconds)
        p50, p95, p99 = (float(np.percentile(values, p)) for p in (50, 95, 99))
        return {
            "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": float(values.max()),
            "mean_ms": float(values.mean()), "jitter_ms": p99 - p50,
            "stddev_ms": float(values.std()),
        }  # fmt: skip

    def missed(self, rate_hz: float) -> float:
        """Share of steps that take longer than a period of the control rate."""
        return float(np.mean(np.asarray(self.milliseconds) > 1e3 / rate_hz))

    def speedup(self, other: Stage) -> float:
        """Says how many times faster than `other`: the median of the ratios, step by step."""
        return float(np.median(np.asarray(other.milliseconds) / np.asarray(self.milliseconds)))

    def cells(self) -> str:
        """The summary as part of a line of a table."""
        summary = self.summary()
        return "".join(f"{summary[name]:9.2f}" for name in COLUMNS.values())
