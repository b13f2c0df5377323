"""Profiles as text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from profiles import profile_of, stage_of

from planet.acting.timeline import STAGES
from planet.profiling import Comparison, Profile
from planet.profiling.conditions import Conditions, State
from planet.profiling.table import number, table


def whole_profile(scale: float = 1.0, steps: int = 400, rounds: int = 10, **change: Any) -> Profile:
    """A profile with all stages."""
    names = ["act", *STAGES, "around", "render", "environment"]
    times = scale * np.random.default_rng(0).lognormal(2.0, 0.05, (len(names), steps))
    stages = [stage_of(*row, name=name) for name, row in zip(names, times, strict=True)]
    one = tuple(stages[names.index(name)] for name in ("rollouts", "selection", "refit"))
    return profile_of(*stages, rounds=(one,) * rounds, **change)


def rows(text: str) -> dict[str, list[str]]:
    """The lines' cells by their first word."""
    lines = [line.split() for line in text.splitlines() if line.split()]
    return {line[0]: line[1:] for line in lines}


def test_table_has_act_with_intervals_and_a_line_per_stage() -> None:
    profile = whole_profile(run={"task": "toy-reach"})
    text = table(Comparison({"": profile}, None, {"version": "0.1.0", "commit": None}))
    for fact in ("horizon 12, iterations 10, belief 200, reward hidden 200 100", "backend fused",
                 "task toy-reach", "cores 2", "version 0.1.0"):  # fmt: skip
        assert fact in text
    assert "400 steps after 5 for warm-up" in " ".join(text.split())
    found, p50 = rows(text), profile.act.percentiles[50]
    assert p50 is not None
    assert found["p50"] == [number(p50.value), f"({number(p50.low)}-{number(p50.high)})"]
    assert found["stage"] == ["p50", "p95", "p99", "max", "CPU", "p50", "share"]
    names = [line.split()[0] for line in text.partition("\nstage ")[2].splitlines()[1:14]]
    assert names == [*STAGES, "around", "render", "environment"]
    assert len(found["filter"]) == 6 and found["filter"][-1].endswith("%")
    assert not found["render"][-1].endswith("%")  # it is no part of act
    assert "  rollouts" in text and "\nplan " in text
    assert found["p50,"] == ["iteration", "10"]  # the second block of iterations


def test_percentiles_of_too_few_steps_say_how_many_they_need() -> None:
    text = table(Comparison({"": whole_profile(steps=40)}))
    assert "p95           needs 72 steps" in text and "p99           needs 368 steps" in text
    assert "needs" not in table(Comparison({"": whole_profile()}))


def test_a_rate_adds_missed_deadlines_and_a_pace_late_starts() -> None:
    act = stage_of(*[1.0] * 30, *[3.0] * 10)
    text = table(Comparison({"": profile_of(act, rate_hz=500.0)}))
    assert "missed: steps not done within 2 ms (500 Hz); steps" in text.replace("\n", " ")
    assert rows(text)["missed"] == ["10", "(25.0%)"]
    paced = profile_of(act, rate_hz=500.0, lateness=(0.0,) * 39 + (0.5,))
    text = table(Comparison({"": paced}))
    assert rows(text)["late"] == ["start", "0.000,", "max", "0.500"]
    assert "the next step starts with the next period" in text.replace("\n", " ")


def test_planners_stand_side_by_side() -> None:
    slow = whole_profile(4.0, compute={"backend": "reference", "threads": 1})
    text = table(Comparison({"reference": slow, "fused": whole_profile()}))
    assert "compute   threads 1\nreference backend reference\nfused     backend fused" in text
    found = rows(text)
    assert found["act"] == ["reference", "fused"]
    assert found["faster"] == ["-", "4.000x", "(4.000-4.000)"]
    assert len(found["filter"]) == 3 and found["filter"][2] == "4.00x"
    assert len(found["render"]) == 1  # it is timed once for both
    assert "faster: than reference" in text.replace("\n", " ")


def test_a_stage_that_the_first_planner_lacks_is_shown_without_a_ratio() -> None:
    plain = profile_of(*whole_profile().stages[:2])
    found = rows(table(Comparison({"plain": plain, "whole": whole_profile()})))
    assert len(found["filter"]) == 3
    assert found["encoder"][0] == "-" and len(found["encoder"]) == 2


def test_iterations_are_shown_where_a_budget_cut_them() -> None:
    assert "median" not in table(Comparison({"": whole_profile()}))
    act = stage_of(*[1.0] * 6)
    hurried = Profile((act,), (2, 2, 2, 4, 4, 4), {"iterations": 10}, {"threads": 1}, {})
    assert "iterations 2 to 4, median 3" in table(Comparison({"": hurried}))
    assert hurried.compute == {"threads": 1}


def test_a_policy_that_does_not_plan_has_act_alone() -> None:
    profile = Profile((stage_of(*[1.0] * 6),), (), {}, {"threads": 1}, {})
    text = table(Comparison({"": profile}))
    assert "stage" not in text and rows(text)["p50"][0] == "1.000"


@pytest.mark.parametrize("planners", [1, 3, 4])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 12345.6])
def test_everything_fits_eighty_columns(planners: int, scale: float) -> None:
    names = ["reference+portable", "fused+bf16+persistent", "int8+portable", "fp16"][:planners]
    facts = {
        "compute": {"device": "NVIDIA H100 80GB HBM3", "backend": "reference", "threads": 128},
        "machine": {"processor": "AMD EPYC 9654 96-Core Processor @ 2.40GHz", "cores": 192},
        "run": {"task": "humanoid-run_pure_state", "episodes": 100000, "updates": 10000000},
    }
    profiles = {
        name: whole_profile(scale, rounds=20, rate_hz=0.001, preemptions=(1000,) * 400,
                            lateness=(scale,) * 400, **facts)
        for name in names
    }  # fmt: skip
    if planners == 1:
        profiles = {"": profiles[names[0]]}
    busy = State(10.0, 1000.0, 1e6, 1e6)
    conditions = Conditions(State(0.0, 999.9, 0.0, 0.0), busy, 192, 192, ("schedutil",))
    source = {"version": "0.1.0", "commit": 40 * "c" + "-dirty",
              "date": "2026-11-28 04:00:00+00:00", "command": 200 * "x"}  # fmt: skip
    text = table(Comparison(profiles, conditions, source))
    assert max(map(len, text.splitlines())) <= 80
    assert "warning" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (0.12345, "0.123"), (9.8765, "9.877"), (12.346, "12.35"), (123.45, "123.5"),
     (12345.6, "12346")],
)  # fmt: skip
def test_numbers_have_the_digits_that_matter(value: float, text: str) -> None:
    assert number(value) == text
