"""Disturbances of the figures, told from made-up facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from profiles import profile_of, stage_of

from planet.profiling import Comparison
from planet.profiling.conditions import Conditions, State
from planet.profiling.disturbances import (
    busy,
    disturbances,
    drifted,
    governed,
    paused,
    preempted,
    stolen,
    throttled,
    waited,
)  # fmt: skip

BEFORE, AFTER = State(100.0, 0.1, 4.0, 2.0), State(110.0, 0.8, 4.0, 2.0)
QUIET = Conditions(BEFORE, AFTER, cores=4, processors=8)


def conditions(cores: int = 4, governors: tuple[str, ...] = (), **after: Any) -> Conditions:
    return Conditions(BEFORE, replace(AFTER, **after), cores, 8, governors)


def times(count: int = 90) -> list[float]:
    return list(np.random.default_rng(0).lognormal(3.0, 0.05, count))


def test_a_quiet_machine_is_told_nothing_of() -> None:
    profile = profile_of(stage_of(*times()), preemptions=(0,) * 89 + (1,))
    assert disturbances(Comparison({"": profile}, QUIET)) == []
    assert disturbances(Comparison({"": profile})) == []


@pytest.mark.parametrize(
    ("load", "threads", "told"),
    [((0.1, 0.8), 2, False), ((0.1, 4.4), 2, False), ((2.4, 2.0), 2, False),
     ((2.7, 2.0), 2, True), ((0.1, 4.6), 2, True), ((0.1, 1.0), 5, True)],
)  # fmt: skip
def test_others_on_the_cores_are_told_by_the_load(
    load: tuple[float, float], threads: int, told: bool
) -> None:
    before, after = replace(BEFORE, load=load[0]), replace(AFTER, load=load[1])
    text = busy(Conditions(before, after, 4, 8), threads)
    assert (text is not None) == told
    if text:
        assert f"load {load[0]:.1f} before, {load[1]:.1f} after, on 4 cores" in text
        assert f"this took {threads}" in text


@pytest.mark.parametrize(
    ("busy_s", "own", "threads", "told"),
    [(15.0, 15.0, 8, False), (20.0, 20.0, 2, False), (66.0, 10.0, 2, False),
     (75.0, 10.0, 2, True), (16.0, 14.0, 8, True), (15.5, 14.6, 8, False)],
)  # fmt: skip
def test_others_are_told_by_their_cpu_time_whatever_the_load(
    busy_s: float, own: float, threads: int, told: bool
) -> None:
    before = replace(BEFORE, load=99.0, busy=0.0, own=0.0)
    after = replace(AFTER, load=99.0, busy=busy_s, own=own)
    text = busy(Conditions(before, after, 4, 8), threads)
    assert (text is not None) == told
    if text:
        assert f"{(busy_s - own - 0.05) / 10:.1f} of its 8 cores" in text
        assert f"this wanted {threads}" in text


def test_time_that_a_hypervisor_took_is_told() -> None:
    assert stolen(conditions(stolen=4.8)) is None  # 0.8 of 80 s
    text = stolen(conditions(stolen=12.0))
    assert text == "the hypervisor took 10.0% of the CPU time for others"


def test_a_quota_that_ran_out_is_told() -> None:
    assert throttled(QUIET) is None
    assert "it stood still for 0.25 s of 10.0 s" in str(throttled(conditions(throttled=2.25)))


def test_a_clock_that_follows_the_load_is_told() -> None:
    assert governed(QUIET) is governed(conditions(governors=("performance",))) is None
    text = str(governed(conditions(governors=("performance", "schedutil"))))
    assert "frequency governor performance, schedutil" in text


def test_systems_that_say_nothing_are_told_nothing_of() -> None:
    silent = Conditions(State(0.0), State(1.0), 4, 8)
    assert busy(silent, 99) is stolen(silent) is throttled(silent) is governed(silent) is None


def test_a_drift_is_told_where_it_is_more_than_chance_and_a_few_percent() -> None:
    steps = times(30)
    slower = [1.3 * step for step in steps]
    assert drifted(stage_of(*steps, *steps, *slower)) is not None
    assert "in the first third of the steps" in str(drifted(stage_of(*slower, *steps, *steps)))
    assert drifted(stage_of(*steps, *slower, *steps)) is None  # between the thirds: not a drift
    assert drifted(stage_of(*steps, *steps, *(1.02 * s for s in steps))) is None
    assert drifted(stage_of(1.0, 2.0, 3.0)) is None
    assert drifted(stage_of(1.0)) is None


def test_a_step_that_was_paused_is_told_with_its_cpu_time() -> None:
    steps = times()
    assert paused(stage_of(*steps)) is None
    walls, cpus = [*steps, 20034.0, 300.0], [*steps, 35.0, 20.0]
    assert paused(stage_of(*walls, cpu=cpus)) == (
        "2 of 92 steps took more than 5 times the median: step 91 took 20034 ms, 35 ms of it CPU "
        "time"
    )


def test_wall_time_without_cpu_time_is_told_on_a_processor_alone() -> None:
    steps = times()
    act = stage_of(*steps, 40.0, cpu=[0.9 * s for s in steps] + [1.0])
    text = str(waited([profile_of(act)]))
    assert "no core for 12% of the time in act" in text and "in one step for 39 ms" in text
    assert waited([profile_of(act, compute={"device": "NVIDIA H100"})]) is None
    more = stage_of(*steps, cpu=[1.9 * s for s in steps])  # two threads
    assert waited([profile_of(more)]) is None


def test_long_pauses_are_no_powers_of_ten() -> None:
    profile = profile_of(stage_of(*[12000.0] * 30, *[24000.0] * 30, 2e5, cpu=[9000.0] * 61))
    told = " ".join(disturbances(Comparison({"": profile})))
    assert "e+" not in told
    assert "in one step for 191000 ms" in told


def test_cores_that_were_taken_away_are_told_for_all_policies_together() -> None:
    one = profile_of(stage_of(*[1.0] * 10), preemptions=(0,) * 10)
    other = replace(one, preemptions=(3, 0, 0, 2, 0, 0, 0, 1, 0, 0))
    assert preempted([one, replace(one, preemptions=(5,) + (0,) * 9)]) is None
    assert "6 times, in 3 of 20 steps" in str(preempted([one, other]))


def test_threads_that_share_a_core_are_told_although_their_cpu_time_is_the_walls() -> None:
    profile = profile_of(stage_of(*times()), preemptions=(0, 1) * 45)
    waiting = [
        Conditions(replace(BEFORE, queued=3.0), replace(AFTER, queued=queued), 4, 8)
        for queued in (3.09, 12.5)
    ]
    assert disturbances(Comparison({"": profile}, waiting[0])) == []
    (text,) = disturbances(Comparison({"": profile}, waiting[1]))
    assert text.endswith("; threads waited 9.50 s for one, of 10.0 s")


def test_the_policy_is_named_where_there_are_several() -> None:
    bad = profile_of(stage_of(*times(), 20034.0))
    good = profile_of(stage_of(*times(), 20.0))
    assert "20034" in disturbances(Comparison({"": bad}))[0]
    (text,) = disturbances(Comparison({"fused": good, "int8": bad}))
    assert text.startswith("int8: 1 of 91 steps")
