"""Runs go on to the same end however they were interrupted; with other settings they do not."""

from __future__ import annotations

import concurrent.futures
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from ops.fused_support import needs_extension
from settings import changed as with_setting
from toy_runs import Recorder, changed, finished, make_trainer, model_of, outcome, timeless

from planet.config import Config
from planet.storage.checkpoint import load_checkpoint
from planet.training.action_box import ActionBox
from planet.training.run_config import check_config

Whole = Callable[[Config], tuple[Any, ...]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Calls and outcome of a run that nothing disturbs."""

    @functools.cache
    def run(config: Config) -> tuple[Any, ...]:
        directory = tmp_path_factory.mktemp("whole")
        recorder = Recorder()
        make_trainer(config, directory, recorder).run()
        return recorder.calls, outcome(directory)

    return run


def moments(calls: list[tuple[str, str]]) -> dict[str, int]:
    """Numbers of calls in the middle and at the edges of every kind of stage."""
    found: dict[str, int] = {}
    for index, (stage, what) in enumerate(calls):
        found.setdefault(f"{stage.split()[0]}, first {what}", index)
        found[f"{stage.split()[0]}, last {what}"] = index
    return found


MOMENTS = [
    f"{stage}, {which} {what}"
    for stage in ("seed", "learn", "evaluate", "collect")
    for which, what in (("first", "start"), ("first", "advance"), ("last", "advance"))
] + ["learn, last finish", "evaluate, first finish", "evaluate, first message"]
CRASHES = ["seed, first advance", "learn, last advance", "evaluate, first message"]


class Crash(BaseException):
    """Stands for the end of the process: nothing can be saved any more."""


@pytest.mark.parametrize(
    ("error", "moment"),
    [(KeyboardInterrupt, moment) for moment in MOMENTS] + [(Crash, moment) for moment in CRASHES],
)
def test_interrupted_run_goes_on_to_the_same_end(
    tiny: Config, tmp_path: Path, whole: Whole, error: type[BaseException], moment: str
) -> None:
    """KeyboardInterrupt saves first; a crash does not."""
    config = changed(tiny, sampling="recent", recent_draws=6)
    calls, expected = whole(config)
    recorder = Recorder(moments(calls)[moment], error)
    directory = tmp_path / "interrupted"
    with make_trainer(config, directory, recorder) as trainer, pytest.raises(error):
        if error is Crash:
            trainer._leave = lambda error: None  # type: ignore[method-assign]
        trainer.run()
    assert finished(config, directory) == expected


@pytest.mark.parametrize("backend", ["reference", pytest.param("fused", marks=needs_extension)])
def test_run_that_is_interrupted_all_the_time_goes_on_to_the_same_end(
    tiny: Config, tmp_path: Path, whole: Whole, backend: str
) -> None:
    config = changed(tiny, backend=backend)
    directory = tmp_path / "interrupted"
    interruptions = 0
    while interruptions < 30:
        trainer = make_trainer(config, directory, Recorder(11))
        try:
            trainer.run()
            break
        except KeyboardInterrupt:
            interruptions += 1
            trainer.close()
    assert 3 <= interruptions < 30
    assert outcome(directory) == whole(config)[1]


@pytest.mark.parametrize("setting", ["train.collect", "planner.execute"])
def test_a_run_on_another_rung_goes_on_to_the_same_end(
    tiny: Config, tmp_path: Path, whole: Whole, setting: str
) -> None:
    config = with_setting(tiny, setting, "random" if setting == "train.collect" else 2)
    directory = tmp_path / "interrupted"
    calls, expected = whole(config)
    middle = moments(calls)["collect, first advance"]
    trainer = make_trainer(config, directory, Recorder(middle))
    with trainer, pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert finished(config, directory) == expected
    with pytest.raises(ValueError, match=setting.replace(".", r"\.")):
        make_trainer(tiny, directory)


@needs_extension
def test_compiled_updates_learn_the_same_on_any_number_of_threads(
    tiny: Config, whole: Whole
) -> None:
    alone, two = (whole(changed(tiny, backend="fused", threads=count))[1] for count in (1, 2))
    assert two == alone
    assert alone != whole(tiny)[1]  # but for its roundings, what the plain updates learn


def test_interruption_loses_no_update(tiny: Config, tmp_path: Path) -> None:
    config = changed(tiny, initial_updates=50)
    recorder = Recorder()
    trainer = make_trainer(config, tmp_path, recorder)
    seen = 0

    def advance(**values: float) -> None:
        nonlocal seen
        seen += "loss" in values
        if seen == 23:
            raise KeyboardInterrupt

    recorder.advance = advance  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    trainer.close()
    with make_trainer(config, tmp_path) as resumed:
        assert resumed.learner.updates == 23
        pairs = zip(*(model_of(each).parameters() for each in (resumed, trainer)), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def test_run_works_outside_the_main_thread(tiny: Config, tmp_path: Path, whole: Whole) -> None:
    """Python allows signal handlers in the main thread only."""
    trainer = make_trainer(tiny, tmp_path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(trainer.run).result()
    assert outcome(tmp_path) == whole(tiny)[1]


def test_finished_run_does_nothing_more(tiny: Config, tmp_path: Path) -> None:
    make_trainer(tiny, tmp_path).run()
    before = timeless(tmp_path)
    trainer = make_trainer(tiny, tmp_path, recorder := Recorder())
    trainer.run()
    assert timeless(tmp_path) == before
    assert recorder.calls == []


def test_prolonged_run_learns_what_a_longer_one_learns(
    tiny: Config, tmp_path: Path, whole: Whole
) -> None:
    """Evaluations included: planned episodes 0, 1 (the short run's last), 2 and 3 (the last)."""
    directory = tmp_path / "prolonged"
    make_trainer(changed(tiny, episodes=3), directory).run()
    assert finished(tiny, directory)[1:] == whole(tiny)[1][1:]
    evaluated = [line["episodes"] for line in timeless(directory) if "evaluate/return" in line]
    assert evaluated == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(1, [0, 2, 2, 3, 4, 5, 6, 7]), (2, [0, 2, 2, 4, 6, 7]), (9, [0, 2, 2, 7])],
)
def test_checkpoint_interval_counts_collected_episodes(
    tiny: Config, tmp_path: Path, interval: int, expected: list[int]
) -> None:
    """At the start, after seed episodes and updates, every interval-th, and at the end."""
    settings = {"checkpoint_interval": interval, "evaluation_interval": 0}
    config = changed(tiny, episodes=7, updates_per_episode=1, **settings)
    trainer = make_trainer(config, tmp_path)
    saved: list[int] = []
    save = trainer.save

    def keep() -> None:
        saved.append(trainer.episodes)
        save()

    trainer.save = keep  # type: ignore[method-assign]
    trainer.run()
    assert saved == expected


def test_checkpoint_carries_settings_and_counters(tiny: Config, tmp_path: Path) -> None:
    make_trainer(tiny, tmp_path).run()
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert Config.from_dict(state["config"]) == tiny
    assert (state["episodes"], state["learner"]["updates"]) == (5, 13)
    assert ActionBox.from_dict(state["actions"]) == ActionBox.unit(2)
    assert state["observation"] == {"image": ["uint8", [8, 8, 3]]}
    kept = Config.from_dict(json.loads((tmp_path / "config.json").read_text()))
    assert kept == tiny


def test_other_settings_are_refused_by_name(tiny: Config, tmp_path: Path) -> None:
    make_trainer(tiny, tmp_path)
    other = changed(tiny, learning_rate=1.0, seed=3)
    other = replace(other, planner=replace(tiny.planner, horizon=4))
    with pytest.raises(ValueError, match=r"config\.json: the run was started with other") as error:
        make_trainer(other, tmp_path)
    changes = ("planner.horizon was 2, now 4", "train.learning_rate was 0.001, now 1.0")
    assert all(part in str(error.value) for part in (*changes, "train.seed was 0, now 3"))
    assert Config.from_dict(json.loads((tmp_path / "config.json").read_text())) == tiny


def test_settings_that_do_not_change_what_is_learned_may_change(
    tiny: Config, tmp_path: Path
) -> None:
    make_trainer(tiny, tmp_path)
    config = changed(
        tiny, episodes=9, evaluation_interval=7, evaluation_episodes=3, checkpoint_interval=4
    )
    config = replace(config, imagination=replace(config.imagination, backend="fused"))
    assert make_trainer(config, tmp_path).config == config


@pytest.mark.parametrize(
    ("setting", "value"), [("imagination.precision", "int8"), ("planner.budget_ms", 20.0)]
)
def test_a_run_goes_on_with_the_arithmetic_and_the_budget_it_began_with(
    setting: str, value: Any, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, name = setting.split(".")
    make_trainer(tiny, tmp_path)
    with pytest.raises(ValueError, match=f"started with other settings: {setting} was"):
        make_trainer(tiny.with_overrides({section: {name: value}}), tmp_path)


def test_a_run_that_goes_on_on_another_device_decides_anew(tiny: Config, tmp_path: Path) -> None:
    with make_trainer(tiny, tmp_path) as trainer:
        trainer.run()
    path = tmp_path / "config.json"
    kept = Config.load(path)
    assert (kept.imagination.precision, kept.imagination.variant) == (None, None)
    check_config(path, kept, kept.with_overrides({"train": {"device": "cuda"}}))


def test_a_run_of_an_older_version_is_refused_by_name(tiny: Config, tmp_path: Path) -> None:
    make_trainer(tiny, tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    del content["imagination"]
    path.write_text(json.dumps(content))
    expected = r"missing setting \['imagination'\], which settings of older versions"
    with pytest.raises(ValueError, match=f"config.json: config: {expected}"):
        make_trainer(tiny, tmp_path)


def test_a_kill_costs_at_most_the_interval_and_the_run_goes_on_to_the_same_end(
    tiny: Config, tmp_path: Path
) -> None:
    """With checkpoints of the paper's schedule, seen small: by episodes and by updates at once."""
    config = changed(
        tiny, episodes=11, initial_updates=3, updates_per_episode=3, evaluation_interval=0,
        checkpoint_interval=4, checkpoint_updates=12,
    )  # fmt: skip
    whole = finished(config, tmp_path / "whole")

    class Killed(Recorder):
        """Ends the process, as far as the directory can tell, in the last planned episode."""

        def start(self, stage: str, total: int) -> None:
            super().start(stage, total)
            if stage == "collect episode 10/11":
                raise Crash

    trainer = make_trainer(config, tmp_path / "killed", Killed())
    saved: list[tuple[int, int]] = []
    save = trainer.save

    def keep() -> None:
        saved.append((trainer.episodes, trainer.learner.updates))
        save()

    trainer.save = keep  # type: ignore[method-assign]
    trainer._leave = lambda error: None  # type: ignore[method-assign, assignment]
    with pytest.raises(Crash):
        trainer.run()
    trainer.close()
    assert saved == [(0, 0), (2, 0), (2, 3), (6, 15)]  # not once more for every twelve updates
    with make_trainer(config, tmp_path / "killed") as again:
        assert again.saved == (6, 15)
        again.run()
    assert outcome(tmp_path / "killed") == whole
