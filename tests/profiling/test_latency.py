"""Numbers that sum up latencies."""

from __future__ import annotations

import numpy as np
import pytest

from planet.profiling import Stage


def stage_of(*milliseconds: float) -> Stage:
    return Stage("plan", milliseconds, milliseconds)


def test_summary_is_the_percentiles_of_the_steps() -> None:
    times = np.random.default_rng(0).exponential(size=200)
    summary = stage_of(*times).summary()
    for p in (50, 95, 99):
        assert summary[f"p{p}_ms"] == pytest.approx(np.percentile(times, p))
    assert summary["max_ms"] == times.max()
    assert summary["mean_ms"] == pytest.approx(times.mean())


def test_jitter_is_the_way_from_the_median_to_p99() -> None:
    summary = stage_of(*map(float, range(101))).summary()
    assert summary["jitter_ms"] == pytest.approx(49.0)
    assert summary["stddev_ms"] == pytest.approx(np.std(range(101)))
    still = stage_of(*[2.0] * 5).summary()
    assert (still["jitter_ms"], still["stddev_ms"]) == (0.0, 0.0)


def test_missed_is_the_share_of_steps_longer_than_the_period() -> None:
    stage = stage_of(10.0, 40.0, 40.1, 80.0)
    assert stage.missed(25.0) == 0.5  # 40 ms is just in time
    assert stage.missed(10.0) == 0.0
    assert stage.missed(1000.0) == 1.0


def test_speedup_is_the_median_of_the_ratios_step_by_step() -> None:
    slow, fast = stage_of(10.0, 100.0, 30.0), stage_of(1.0, 50.0, 10.0)
    assert fast.speedup(slow) == 3.0  # of 10, 2 and 3; the ratio of the medians is 3 as well
    assert stage_of(10.0, 1.0, 10.0).speedup(slow) == 3.0  # of the medians: also 3
    assert stage_of(5.0, 100.0, 1.0).speedup(slow) == 2.0  # of the medians: 6
    assert slow.speedup(slow) == 1.0
