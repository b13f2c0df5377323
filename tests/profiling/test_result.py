"""Profiles and comparisons as tables and JSON."""

from __future__ import annotations

import json
from typing import Any

from planet.profiling import Comparison, Profile, Stage

PLAN = {"horizon": 12, "iterations": 10, "belief_size": 200, "reward_hidden": [200, 100]}


def make_profile(scale: float = 1.0, rate_hz: float | None = None, **change: Any) -> Profile:
    stages = (
        Stage("render", (1.0, 1.0), (1.0, 1.0)),
        Stage("plan", (1.0 * scale, 3.0 * scale), (1.0 * scale, 2.0 * scale)),
        Stage("total", (1.0 + scale, 1.0 + 3.0 * scale), (1.0 + scale, 1.0 + 2.0 * scale)),
    )
    facts = {"plan": dict(PLAN), "compute": {"backend": "fused"}, "machine": {"cores": 2}}
    return Profile(stages, iterations=(10, 10), rate_hz=rate_hz, **(facts | change))


def rows(text: str) -> list[list[str]]:
    """The table's lines as cells."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("stage"))
    return [line.split() for line in lines[start:]]


def test_table_has_a_line_per_stage_and_the_facts() -> None:
    text = make_profile(run={"task": "toy-reach"}).table()
    assert "horizon 12, iterations 10, belief 200, reward hidden 200 100" in text
    assert "backend fused" in text
    assert "cores 2" in text
    assert "task toy-reach" in text
    assert "2 steps; jitter is p99 - p50" in text
    header, render, plan, total = rows(text)
    assert header == ["stage", "p50", "p95", "p99", "max", "mean", "jitter", "stddev"]
    assert render == ["render", *["1.00"] * 5, "0.00", "0.00"]
    assert plan == ["plan", "2.00", "2.90", "2.98", "3.00", "2.00", "0.98", "1.00"]
    assert total[0] == "total"


def test_a_rate_adds_the_missed_deadlines_of_the_whole_step() -> None:
    text = make_profile(rate_hz=500.0).table()
    assert "missed: share of steps that take longer than 2 ms (500 Hz)" in text
    header, render, plan, total = rows(text)
    assert header[-1] == "missed"
    assert total[-1] == "50.0%"
    assert len(plan) == len(render) == len(total) - 1
    assert make_profile(rate_hz=500.0).to_dict()["missed"] == 0.5
    assert make_profile().to_dict()["missed"] is None


def test_comparison_shows_planners_side_by_side() -> None:
    both = Comparison({"reference": make_profile(4.0, 100.0), "fused": make_profile(1.0, 100.0)})
    header, render, plan, faster_plan, total, faster_total = rows(both.table())
    assert header[:2] == ["stage", "planner"]
    assert header[-2:] == ["missed", "faster"]
    assert render[:2] == ["render", "all"]  # it is timed once for both
    assert plan[:2] == ["plan", "reference"]
    assert plan[-1] == "1.00x"
    assert faster_plan[0] == "fused"
    assert faster_plan[-1] == "4.00x"
    assert total[:2] == ["total", "reference"]
    assert total[-2:] == ["50.0%", "1.00x"]
    assert faster_total[-2:] == ["0.0%", "2.88x"]  # median of 5 / 2 and 13 / 4
    assert "faster: than reference, median of the ratios step by step" in both.table()


def test_comparison_survives_json() -> None:
    both = Comparison({"reference": make_profile(4.0), "fused": make_profile(1.0)})
    content = json.loads(json.dumps(both.to_dict()))
    assert content["steps"] == 2
    assert content["speedup_over"] == "reference"
    assert content["planners"]["fused"]["speedup"] == {"plan": 4.0, "total": 2.875}
    assert content["planners"]["reference"]["stages"]["plan"]["p50_ms"] == 8.0
    assert content["plan"]["reward_hidden"] == [200, 100]


def test_iterations_are_shown_where_a_budget_cut_them() -> None:
    profile = make_profile()
    assert "median" not in profile.table()
    hurried = Profile(profile.stages, (2, 4), profile.plan, dict(profile.compute), profile.machine)
    assert "iterations 2 to 4, median 3" in hurried.table()
    assert hurried.compute == profile.compute
    assert hurried.to_dict()["iterations"] == {"least": 2, "median": 3.0, "most": 4}
