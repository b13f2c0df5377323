"""Numbers that sum up latencies."""

from __future__ import annotations

import numpy as np
import pytest
from profiles import stage_of


def test_summary_holds_percentiles_with_intervals() -> None:
    times = np.random.default_rng(0).exponential(size=400)
    summary = stage_of(*times, cpu=0.5 * times).summary()
    for p in (50, 95, 99):
        value, (low, high) = summary[f"p{p}_ms"], summary[f"p{p}_interval_ms"]
        assert value == pytest.approx(np.percentile(times, p))
        assert low < value < high
        assert {low, high} <= set(times)
    assert summary["max_ms"] == times.max()
    assert summary["cpu_p50_ms"] == pytest.approx(0.5 * summary["p50_ms"])


def test_there_is_no_p99_of_forty_steps() -> None:
    summary = stage_of(*map(float, range(40))).summary()
    assert summary["p50_ms"] == 19.5
    assert summary["p95_ms"] is summary["p99_ms"] is summary["p99_interval_ms"] is None
    assert summary["max_ms"] == 39.0


def test_speedup_is_the_median_of_the_ratios_step_by_step() -> None:
    fast = stage_of(*[1.0, 50.0, 10.0] * 3)
    found = fast.speedup(stage_of(*[10.0, 100.0, 20.0] * 3))
    assert found is not None and found.value == 2.0
    one = fast.speedup(fast)
    assert one is not None and (one.value, one.low, one.high) == (1.0, 1.0, 1.0)


def test_a_stage_that_takes_no_time_has_no_speedup() -> None:
    assert stage_of(*[0.0] * 9).speedup(stage_of(*[1.0] * 9)) is None
