"""The remaining time of a run, on a clock that is set by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from toy_runs import Recorder, changed, make_trainer

from planet.config import Config
from planet.training.schedule import Part
from planet.training.stages import Pace, Stages


class Clock:
    """Says the time that it was told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_every_kind_takes_its_mean_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.work = {"update": 10, "planned": 3, "random": 0}
    for part, seconds in (("update", 2.0), ("planned", 30.0), ("update", 4.0)):
        pace.start(part)  # type: ignore[arg-type]
        clock.now += seconds
        pace.done()
        clock.now += 100.0  # in between nothing is timed
        pace.start(part)  # type: ignore[arg-type]
    assert pace.remaining() == (8 * 3.0 + 2 * 30.0, True)


def test_what_was_never_timed_makes_the_estimate_a_least_one() -> None:
    pace = Pace(Clock())
    assert pace.remaining() == (0.0, True)  # nothing is expected
    pace.work = {"update": 3, "planned": 1}
    for part in ("update", "planned"):
        assert pace.remaining() == (0.0, False)
        pace.start(part)  # type: ignore[arg-type]
        pace.done()
    assert pace.remaining() == (0.0, True)


def test_the_time_of_a_part_under_way_is_not_counted_twice() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.work = {"planned": 3}
    pace.start("planned")
    clock.now += 10.0
    pace.done()
    found = []
    for seconds in (0.0, 4.0, 5.0, 6.0):  # the last overshoots: the next takes its whole time
        clock.now += seconds
        found.append(pace.remaining()[0])
    assert found == [20.0, 16.0, 11.0, 10.0]


@pytest.mark.parametrize("part", ["planned", "random"])
def test_steps_of_an_episode_are_no_parts_and_updates_are(part: Part) -> None:
    clock, recorder = Clock(), Recorder()
    stages = Stages(recorder, clock)
    stages.expect({"update": 6, part: 2})
    stages.start("collect", 2, part)
    for _ in range(2):
        clock.now += 3.0
        stages.advance(episode_return=1.0)
    stages.finish()
    stages.start("learn", 2, "update", several=True)
    clock.now += 1.0
    stages.advance()
    stages.finish()
    assert recorder.estimates == [
        (0.0, False),
        (0.0, False),
        (6.0, False),
        (11.0, True),
        (11.0, True),
    ]
    assert [what for _, what in recorder.calls] == [
        "start", "advance", "advance", "finish", "start", "advance", "finish"
    ]  # fmt: skip


def test_a_run_counts_down_to_nothing_and_a_resumed_one_estimates_anew(
    tiny: Config, tmp_path: Path
) -> None:
    for episodes in (3, 5):
        recorder = Recorder()
        with make_trainer(changed(tiny, episodes=episodes), tmp_path, recorder) as trainer:
            trainer.run()
        whole = [each[1] for each in recorder.estimates]
        assert whole == sorted(whole) and not whole[0]  # never unknown again
        assert recorder.estimates[-1] == (0.0, True)
