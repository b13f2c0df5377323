"""Steps that start with the periods of a control rate."""

from __future__ import annotations

import pytest

from planet.profiling.pace import Pace


class Time:
    """A clock that only sleeping and working move; sleep lasts a little longer than asked for."""

    def __init__(self, tardy: float = 0.0) -> None:
        self.now, self.tardy = 100.0, tardy

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.tardy


def starts(work: list[float], tardy: float = 0.0) -> tuple[list[float], list[float]]:
    """Runs steps of so many seconds at 10 Hz; returns when they start, and how late."""
    time = Time(tardy)
    pace = Pace(10.0, time.clock, time.sleep)
    begins, lates = [], []
    for seconds in work:
        lates.append(pace.wait())
        begins.append(time.now - 100.0)
        time.now += seconds
    return begins, lates


def test_steps_start_with_the_periods() -> None:
    begins, lates = starts([0.02, 0.09, 0.05])
    assert begins == pytest.approx([0.1, 0.2, 0.3])
    assert lates == pytest.approx([0.0, 0.0, 0.0])


def test_after_a_miss_the_next_step_starts_with_the_next_period() -> None:
    begins, _ = starts([0.02, 0.13, 0.25, 0.02])
    assert begins == pytest.approx([0.1, 0.2, 0.4, 0.7])


def test_a_tardy_sleep_is_told_and_does_not_add_up() -> None:
    begins, lates = starts([0.02] * 5, tardy=0.003)
    assert begins == pytest.approx([0.103, 0.203, 0.303, 0.403, 0.503])
    assert lates == pytest.approx([0.003] * 5)


def test_a_sleep_that_ends_early_is_continued() -> None:
    time = Time()

    def doze(seconds: float) -> None:
        time.now += max(0.01, seconds / 2)

    pace = Pace(10.0, time.clock, doze)
    assert pace.wait() >= 0.0
    assert time.now >= 100.1


def test_a_period_of_eons_is_slept_in_parts_that_systems_allow() -> None:
    time, longest = Time(), 0.0

    def sleep(seconds: float) -> None:
        nonlocal longest
        longest = max(longest, seconds)
        time.now += seconds

    assert Pace(1e-5, time.clock, sleep).wait() == pytest.approx(0.0, abs=1e-6)
    assert longest <= 3600.0
