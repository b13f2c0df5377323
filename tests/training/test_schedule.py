"""The schedule as a table: what is due after how many episodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from planet.config import TrainConfig
from planet.training import schedule

TRAIN = TrainConfig(
    seed_episodes=2, episodes=7, initial_updates=50, updates_per_episode=10,
    evaluation_interval=2, checkpoint_interval=3, exploration_stddev=0.5,
    exploration_min_stddev=0.1, exploration_ramp=4,
)  # fmt: skip


def test_updates_follow_the_seed_episodes_and_every_planned_one() -> None:
    due = [schedule.updates_due(TRAIN, episodes) for episodes in range(8)]
    assert due == [0, 0, 50, 60, 70, 80, 90, 100]


def test_random_collection_asks_for_the_policy_before_any_episode() -> None:
    kinds = [schedule.next_part(TRAIN, episodes) for episodes in range(7)]
    assert kinds == ["random"] * 2 + ["planned"] * 5
    assert [schedule.collector(TRAIN, episodes) for episodes in range(7)] == [*range(7)]
    train = replace(TRAIN, collect="random")
    assert {schedule.next_part(train, episodes) for episodes in range(7)} == {"random"}
    assert {schedule.collector(train, episodes) for episodes in range(7)} == {0}
    assert schedule.updates_due(train, 7) == schedule.updates_due(TRAIN, 7)


def test_noise_falls_over_the_ramp_and_stays_at_its_minimum() -> None:
    stddev = [schedule.exploration_stddev(TRAIN, episodes) for episodes in range(2, 8)]
    assert stddev == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])


def test_intervals_count_planned_episodes_and_the_last_one_is_always_due() -> None:
    planning = range(2, 8)
    evaluations = [n for n in planning if schedule.evaluation_due(TRAIN, n, -1)]
    assert evaluations == [2, 4, 6, 7]
    assert not any(schedule.evaluation_due(TRAIN, n, n) for n in planning)  # once is enough
    assert [n for n in planning if schedule.checkpoint_due(TRAIN, n)] == [2, 5, 7]


def test_checkpoints_between_count_from_the_newest() -> None:
    train = TrainConfig(checkpoint_updates=10)
    due = [n for n in range(40) if schedule.checkpoint_due_between(train, n, saved=17)]
    assert due[0] == 27


def test_lines_of_metrics_end_with_a_hundred_updates_or_a_phase() -> None:
    train = TrainConfig(seed_episodes=1, initial_updates=230)
    lines = [updates for updates in range(1, 231) if schedule.line_due(train, 1, updates)]
    assert lines == [100, 200, 230]


@pytest.mark.parametrize("interval", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("episodes", range(9))
@pytest.mark.parametrize("evaluated", [False, True])
@pytest.mark.parametrize("collect", ["online", "random"])
def test_work_is_what_a_run_still_does(
    interval: int, episodes: int, evaluated: bool, collect: Literal["online", "random"]
) -> None:
    """Compares with the run's loop, of 2 seed episodes among 7; 8 are more than it asks for."""
    train = replace(TRAIN, evaluation_interval=interval, evaluation_episodes=3, collect=collect)
    later = "planned" if collect == "online" else "random"
    updates, last = schedule.updates_due(train, episodes), episodes if evaluated else -1
    if last >= 0 and not schedule.evaluation_due(train, last, -1):
        last = -1  # a run evaluates when it is due alone
    expected = {"random": 0, "planned": 0, "update": 0}
    made, now, seen = updates, episodes, last
    while now < train.seed_episodes:
        now, expected["random"] = now + 1, expected["random"] + 1
    while True:
        due = schedule.updates_due(train, now)
        expected["update"], made = expected["update"] + due - made, due
        if schedule.evaluation_due(train, now, seen):
            expected["planned"], seen = expected["planned"] + 3, now
        if schedule.finished(train, now):
            break
        now, expected[later] = now + 1, expected[later] + 1
    assert schedule.work(train, episodes, updates, last) == expected
