"""Profiles against those of a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from profiles import PLAN, profile_of, stage_of

from planet.profiling import Comparison, Profile, Session
from planet.profiling.against import changes, check_comparable, differences
from planet.profiling.against_table import against_table


def some_profile(scale: float = 1.0, seed: int = 0, steps: int = 400, **change: Any) -> Profile:
    times = np.random.default_rng(seed).lognormal(3.0, 0.05, (2, steps))
    plan = stage_of(*times[1], name="rollouts")
    return profile_of(stage_of(*scale * times[0]), plan, **change)


def session_of(**profiles: Profile) -> Session:
    facts = {name.strip("_"): (p.plan, p.compute) for name, p in profiles.items()}
    return Session({}, None, facts, next(iter(profiles.values())).run)  # type: ignore[arg-type]


def test_a_change_is_told_with_its_interval() -> None:
    found = changes(some_profile(), some_profile(1.2, seed=1))
    assert [(c.stage, c.percentile) for c in found] == [("act", 50), ("act", 99), ("rollouts", 50)]
    assert [change.verdict for change in found] == ["slower", "slower", "undecided"]
    assert found[0].ratio.low < 1.2 < found[0].ratio.high
    assert found[0].ratio.high / found[0].ratio.low < 1.05
    assert changes(some_profile(1.2), some_profile(seed=1))[0].verdict == "faster"


def test_a_p99_of_few_steps_and_a_stage_of_no_time_are_left_out() -> None:
    few = some_profile(steps=40)
    assert [(c.stage, c.percentile) for c in changes(few, few)] == [("act", 50), ("rollouts", 50)]
    still = replace(few, stages=(few.act, stage_of(*[0.0] * 40, name="rollouts")))
    assert [(c.stage, c.percentile) for c in changes(still, few)] == [("act", 50)]
    assert changes(some_profile(steps=3), few) == []


def test_other_work_is_refused_by_name() -> None:
    before = Comparison({"": some_profile(plan=PLAN)})
    check_comparable(before, session_of(_=some_profile(0.5, compute={"threads": 8})))
    with pytest.raises(ValueError, match="got others: horizon 12, now 6; pixels None, now 64"):
        check_comparable(
            before, session_of(_=some_profile(plan=PLAN | {"horizon": 6, "pixels": 64}))
        )
    with pytest.raises(ValueError, match="task None, now toy-reach"):
        check_comparable(before, session_of(_=some_profile(run={"task": "toy-reach"})))
    with pytest.raises(ValueError, match=r"expected the file's planners \[''\], got \['a', 'b'\]"):
        check_comparable(before, session_of(a=some_profile(), b=some_profile()))


def test_machine_threads_and_pace_are_named_beside_the_ratios() -> None:
    before = Comparison({"": some_profile()})
    assert differences(before, before) == []
    other = some_profile(
        compute={"backend": "fused", "threads": 8}, machine={"cores": 4}, rate_hz=25.0,
        lateness=(0.1,) * 400,
    )  # fmt: skip
    now = Comparison({"": other})
    assert differences(before, now) == [
        "cores 2, now 4", "rate_hz None, now 25.0", "paced False, now True", "threads 1, now 8",
    ]  # fmt: skip
    text = " ".join(against_table(before, now, "a.json").split())
    assert "differs cores 2, now 4; " in text and "threads 1, now 8. The ratios are" in text


def test_the_text_has_a_line_per_change_and_fits_eighty_columns() -> None:
    source = {"version": "0.1.0", "commit": 40 * "c" + "-dirty", "command": "x", "date": "today"}
    names = ("reference+portable", "fused+bf16+persistent", "int8")
    before = Comparison({name: some_profile(12345.6) for name in names}, None, source)
    now = Comparison({name: some_profile(scale) for name, scale in zip(names, (1.0, 9e3, 1e5))})  # noqa: B905
    text = against_table(before, now, "a/long/path/" * 9 + "profile.json")
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.split() for line in text.splitlines()]
    assert ["act", "p50"] in [line[:2] for line in lines]
    assert [line[-1] for line in lines if line[:2] == ["act", "p99"]] == [
        "faster", "faster", "slower",
    ]  # fmt: skip
    assert all(name in text.splitlines() for name in names)


def test_too_few_steps_are_told() -> None:
    few = Comparison({"": some_profile(steps=3)})
    assert "no percentile has an interval in both" in against_table(few, few, "a.json")
