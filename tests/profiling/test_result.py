"""Profiles of one policy and of several."""

from __future__ import annotations

from dataclasses import replace

import pytest
from profiles import profile_of, stage_of


def test_missed_is_the_share_of_steps_longer_than_the_period() -> None:
    profile = profile_of(stage_of(10.0, 40.0, 40.1, 80.0))
    assert profile.missed is None
    shares = [replace(profile, rate_hz=rate).missed for rate in (25.0, 10.0, 1000.0)]
    assert shares == [0.5, 0.0, 1.0]  # 40 ms is just in time


def test_a_late_start_is_a_part_of_the_period() -> None:
    profile = profile_of(stage_of(30.0, 30.0, 45.0), rate_hz=25.0, lateness=(1.0, 11.0, 0.0))
    assert profile.missed == pytest.approx(2 / 3)


def test_stages_are_found_by_name() -> None:
    plan = stage_of(1.0, name="plan")
    profile = profile_of(stage_of(2.0), plan)
    assert profile.stage("plan") is plan
    assert (profile.act.milliseconds, profile.steps) == ((2.0,), 1)
