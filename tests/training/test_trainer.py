"""Whole runs on the toy task: schedule, interruption, settings, evaluation, and that it learns."""

from __future__ import annotations

import concurrent.futures
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from conftest import FUSED_MISSING, fused_is_built
from toy_runs import changed, make_trainer, model_of, timeless, toy

from planet.agent import Agent
from planet.checkpoint import load_checkpoint
from planet.config import Config
from planet.protocols import Chunk, NonFiniteError, Policy, Replay
from planet.replay import ReplayBuffer, read_episode
from planet.systems.planet import make_world_model
from planet.training.action_box import ActionBox
from planet.training.device import available_device
from planet.training.seeds import environment_seed, evaluation_seeds
from planet.training.trainer import Trainer

Whole = Callable[[Config], tuple[Any, ...]]


class Recorder:
    """Counts every call and raises at chosen ones."""

    def __init__(
        self, raise_at: int | None = None, error: type[BaseException] | None = None
    ) -> None:
        self.calls: list[tuple[str, str]] = []
        self.messages: list[str] = []
        self.stage = ""
        self.raise_at, self.error = raise_at, error or KeyboardInterrupt

    def _called(self, what: str) -> None:
        self.calls.append((self.stage, what))
        if len(self.calls) - 1 == self.raise_at:
            raise self.error

    def start(self, stage: str, total: int) -> None:
        self.stage = stage
        self._called("start")

    def advance(self, **values: float) -> None:
        self._called("advance")

    def finish(self) -> None:
        self._called("finish")

    def message(self, text: str) -> None:
        self.messages.append(text)
        self._called("message")


def parameters(trainer: Trainer) -> list[torch.Tensor]:
    moments = [
        value
        for state in trainer.learner.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    return [p.detach().clone() for p in (*model_of(trainer).parameters(), *moments)]


def equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def episodes(directory: Path) -> list[tuple[list[object], list[object]]]:
    """Actions and rewards of all episodes."""
    read = [read_episode(path) for path in sorted((directory / "episodes").glob("*.planet"))]
    return [(episode.action.tolist(), episode.reward.tolist()) for episode in read]


# ---- Schedule ----------------------------------------------------------------------------------


def test_schedule_is_algorithm_1(tiny: Config, tmp_path: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    trainer.run()
    lines = timeless(tmp_path)
    # 2 seed episodes, 4 updates, then 3 times: an episode and 3 updates; evaluations at 0, 2 and 3.
    kinds = [
        "seed" if line.get("collect/planned") == 0
        else "planned" if line.get("collect/planned") == 1
        else "evaluate" if "evaluate/return" in line
        else "train"
        for line in lines
    ]  # fmt: skip
    expected = ["seed", "seed", "train", "evaluate", "planned", "train"]
    expected += ["planned", "train", "evaluate", "planned", "train", "evaluate"]
    assert kinds == expected
    assert [line["updates"] for line in lines] == [0, 0, 4, 4, 4, 7, 7, 10, 10, 10, 13, 13]
    assert [line["episodes"] for line in lines] == [1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5]
    assert [line["line"] for line in lines] == list(range(1, 13))
    assert trainer.learner.updates == 4 + 3 * 3
    assert trainer.episodes == len(trainer.replay.episodes) == 5


@pytest.mark.parametrize(("initial", "per_episode"), [(0, 0), (0, 2), (5, 0)])
def test_number_of_updates_is_initial_plus_c_per_planned_episode(
    tiny: Config, tmp_path: Path, initial: int, per_episode: int
) -> None:
    config = changed(
        tiny, initial_updates=initial, updates_per_episode=per_episode, evaluation_interval=0
    )
    trainer = make_trainer(config, tmp_path)
    trainer.run()
    assert trainer.learner.updates == initial + per_episode * 3


def test_training_lines_are_means_of_at_most_100_updates(tiny: Config, tmp_path: Path) -> None:
    config = changed(
        tiny, episodes=2, initial_updates=130, batch_size=1, chunk_length=2, evaluation_interval=0
    )
    trainer = make_trainer(config, tmp_path)
    values: list[float] = []
    update = trainer.learner.update

    def keep(replay: Replay) -> Mapping[str, torch.Tensor]:
        result = update(replay)
        values.append(result["total"].item())
        return result

    trainer.learner.update = keep  # type: ignore[method-assign]
    trainer.run()
    lines = [line for line in timeless(tmp_path) if "train/total" in line]
    assert [line["updates"] for line in lines] == [100, 130]
    assert lines[0]["train/total"] == pytest.approx(np.mean(values[:100]))
    assert lines[1]["train/total"] == pytest.approx(np.mean(values[100:]))


def test_metadata_tells_random_from_planned_episodes(tiny: Config, tmp_path: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    trainer.run()
    kept = [read_episode(p).metadata for p in sorted((tmp_path / "episodes").glob("*.planet"))]
    assert [metadata["source"] for metadata in kept] == ["random"] * 2 + ["agent"] * 3
    assert {metadata["task"] for metadata in kept} == {"toy-reach"}
    assert [m["seed"] for m in kept] == [environment_seed(0, k, False) for k in range(5)]


def test_exploration_ramp_ends_at_its_minimum(tiny: Config, tmp_path: Path) -> None:
    config = changed(
        tiny,
        episodes=7,
        exploration_stddev=0.5,
        exploration_min_stddev=0.1,
        exploration_ramp=4,
        evaluation_interval=0,
        updates_per_episode=0,
    )
    trainer = make_trainer(config, tmp_path)
    seen: list[float] = []
    watch_policies(trainer, lambda agent: seen.append(agent.exploration_stddev))
    trainer.run()
    assert seen == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


def watch_policies(trainer: Trainer, seen: Callable[[Agent], None]) -> None:
    """Shows every agent that is to act, from now on."""
    policy = trainer.learner.policy

    def keep(episodes: int) -> Policy:
        chosen = policy(episodes)
        if isinstance(chosen, Agent):
            seen(chosen)
        return chosen

    trainer.learner.policy = keep  # type: ignore[method-assign]


def test_agent_plans_with_the_newest_weights(tiny: Config, tmp_path: Path) -> None:
    trainer = make_trainer(changed(tiny, evaluation_interval=0), tmp_path)
    snapshots: list[torch.Tensor] = []

    def keep(agent: Agent) -> None:
        newest = model_of(trainer).rssm.input_weight
        assert torch.equal(agent.weights.input_weight, newest)
        snapshots.append(newest.detach().clone())

    watch_policies(trainer, keep)
    trainer.run()
    assert len(snapshots) == 3
    assert not torch.equal(snapshots[0], snapshots[1])


# ---- Replay settings ---------------------------------------------------------------------------


def test_sampling_settings_reach_the_replay(tiny: Config, tmp_path: Path) -> None:
    config = changed(tiny, sampling="recent", recent_draws=17)
    replay = make_trainer(config, tmp_path).replay
    assert (replay.sampling, replay._recent_draws) == ("recent", 17)
    assert replay.directory == tmp_path / "episodes"
    assert make_trainer(tiny, tmp_path / "other").replay.sampling == "uniform"


# ---- Interruption ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Calls, metrics, episodes and final parameters of a run that nothing disturbs."""

    @functools.cache
    def run(config: Config) -> tuple[Any, ...]:
        directory = tmp_path_factory.mktemp("whole")
        recorder = Recorder()
        trainer = make_trainer(config, directory, recorder)
        trainer.run()
        return recorder.calls, timeless(directory), episodes(directory), parameters(trainer)

    return run


def assert_same_run(trainer: Trainer, expected: tuple[Any, ...]) -> None:
    _, lines, data, final = expected
    assert timeless(trainer.directory) == lines
    assert episodes(trainer.directory) == data
    assert equal(parameters(trainer), final)


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
    tiny: Config,
    tmp_path: Path,
    whole: Whole,
    error: type[BaseException],
    moment: str,
) -> None:
    """KeyboardInterrupt saves first; a crash does not."""
    config = changed(tiny, sampling="recent", recent_draws=6)
    expected = whole(config)
    recorder = Recorder(moments(expected[0])[moment], error)
    directory = tmp_path / "interrupted"
    with make_trainer(config, directory, recorder) as trainer, pytest.raises(error):
        if error is Crash:
            trainer._leave = lambda error: None  # type: ignore[method-assign]
        trainer.run()
    trainer = make_trainer(config, directory)
    trainer.run()
    assert_same_run(trainer, expected)


def test_run_that_is_interrupted_all_the_time_goes_on_to_the_same_end(
    tiny: Config, tmp_path: Path, whole: Whole
) -> None:
    expected = whole(tiny)
    directory = tmp_path / "interrupted"
    interruptions = 0
    while interruptions < 30:
        trainer = make_trainer(tiny, directory, Recorder(11))
        try:
            trainer.run()
            break
        except KeyboardInterrupt:
            interruptions += 1
            trainer.close()
    assert 3 <= interruptions < 30
    assert_same_run(trainer, expected)


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
    resumed = make_trainer(config, tmp_path)
    assert resumed.learner.updates == 23
    assert equal(parameters(resumed), parameters(trainer))


def test_run_works_outside_the_main_thread(tiny: Config, tmp_path: Path, whole: Whole) -> None:
    """Python allows signal handlers in the main thread only."""
    trainer = make_trainer(tiny, tmp_path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(trainer.run).result()
    assert_same_run(trainer, whole(tiny))


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
    expected = whole(tiny)
    directory = tmp_path / "prolonged"
    make_trainer(changed(tiny, episodes=3), directory).run()
    trainer = make_trainer(tiny, directory)
    trainer.run()
    assert equal(parameters(trainer), expected[3])
    assert episodes(directory) == expected[2]
    evaluated = [line["episodes"] for line in timeless(directory) if "evaluate/return" in line]
    assert evaluated == [2, 3, 4, 5]


# ---- Checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(1, [0, 2, 2, 3, 4, 5, 6, 7]), (2, [0, 2, 2, 4, 6, 7]), (9, [0, 2, 2, 7])],
)
def test_checkpoint_interval_counts_collected_episodes(
    tiny: Config, tmp_path: Path, interval: int, expected: list[int]
) -> None:
    """At the start, after seed episodes and updates, every interval-th, and at the end."""
    config = changed(
        tiny,
        episodes=7,
        checkpoint_interval=interval,
        evaluation_interval=0,
        updates_per_episode=1,
    )
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
    kept = Config.from_dict(json.loads((tmp_path / "config.json").read_text()))
    assert kept == tiny


# ---- Settings of an existing directory ---------------------------------------------------------


def test_other_settings_are_refused_by_name(tiny: Config, tmp_path: Path) -> None:
    make_trainer(tiny, tmp_path)
    other = replace(
        changed(tiny, learning_rate=1.0, seed=3), planner=replace(tiny.planner, horizon=4)
    )
    with pytest.raises(ValueError, match="the run was started with other settings") as error:
        make_trainer(other, tmp_path)
    for part in (
        "planner.horizon was 2, now 4",
        "train.learning_rate was 0.001, now 1.0",
        "train.seed was 0, now 3",
        "config.json",
    ):
        assert part in str(error.value)
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


# ---- Not finite --------------------------------------------------------------------------------


def poison(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Spoils the batch of this number, counted from 1."""
    sample, seen = ReplayBuffer.sample, 0

    def poisoned(self: ReplayBuffer, *arguments: Any) -> Chunk:
        nonlocal seen
        seen += 1
        chunk = sample(self, *arguments)
        if seen == number:
            chunk.reward[1, 1] = float("nan")
        return chunk

    monkeypatch.setattr(ReplayBuffer, "sample", poisoned)


def test_a_bad_batch_that_cannot_be_saved_does_not_hide_why_the_run_ends(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 1)
    (tmp_path / "bad_batch.pt").mkdir()
    with pytest.raises(NonFiniteError, match=r"^reward is .* batch cannot be saved \(.*directory"):
        make_trainer(tiny, tmp_path).run()


def test_bad_batch_stops_the_run_and_keeps_the_last_checkpoint(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny, tmp_path)
    poison(monkeypatch, 9)  # within the second planned episode's updates
    with pytest.raises(NonFiniteError, match="^reward is not finite"):
        trainer.run()
    assert trainer.learner.updates == 8
    assert all(torch.isfinite(tensor).all() for tensor in parameters(trainer))
    batch = load_checkpoint(tmp_path / "bad_batch.pt")
    assert torch.isnan(batch["reward"]).sum() == 1
    kept = load_checkpoint(tmp_path / "checkpoint.pt")
    assert (kept["episodes"], kept["learner"]["updates"]) == (3, 7)
    monkeypatch.undo()
    trainer.close()
    resumed = make_trainer(tiny, tmp_path)
    resumed.run()
    undisturbed = make_trainer(tiny, tmp_path / "undisturbed")
    undisturbed.run()
    assert equal(parameters(resumed), parameters(undisturbed))


# ---- Evaluation --------------------------------------------------------------------------------


def test_evaluation_seeds_are_never_training_seeds() -> None:
    for run_seed in (0, 1, 2**63 - 1):
        training = {environment_seed(run_seed, k, evaluation=False) for k in range(3000)}
        evaluation = {environment_seed(run_seed, k, evaluation=True) for k in range(3000)}
        assert not training & evaluation
        assert len(training) == len(evaluation) == 3000
        assert all(0 <= seed < 2**31 for seed in training | evaluation)
        assert not any(seed % 2 for seed in training)  # so runs of other seeds are disjoint, too
        assert all(seed % 2 for seed in evaluation)
    assert evaluation_seeds(5, 3)[0] == environment_seed(5, 3, evaluation=True)


def test_evaluation_starts_from_its_own_seeds_without_noise(tiny: Config, tmp_path: Path) -> None:
    environment = toy()
    seeds: list[int] = []
    reset = environment.reset

    def keep(*, seed: int | None = None, options: Any = None) -> Any:
        seeds.append(seed or 0)
        return reset(seed=seed, options=options)

    environment.reset = keep  # type: ignore[method-assign]
    trainer = make_trainer(tiny, tmp_path, environment=environment)
    first = trainer.evaluate(3)
    assert seeds == [environment_seed(0, k, evaluation=True) for k in range(3)]
    noisy = make_trainer(changed(tiny, exploration_stddev=100.0), tmp_path / "noisy")
    assert noisy.evaluate(3) == first


def test_evaluation_does_not_change_training(tiny: Config, tmp_path: Path) -> None:
    results = []
    for interval in (0, 1, 2):
        directory = tmp_path / str(interval)
        trainer = make_trainer(changed(tiny, evaluation_interval=interval), directory)
        trainer.run()
        results.append((parameters(trainer), episodes(directory)))
    for final, data in results[1:]:
        assert equal(final, results[0][0])
        assert data == results[0][1]


def test_evaluation_is_reported_with_its_standard_error(tiny: Config, tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = make_trainer(changed(tiny, evaluation_episodes=3), tmp_path, recorder)
    trainer.run()
    score = trainer.evaluate(3)
    last = [line for line in timeless(tmp_path) if "evaluate/return" in line][-1]
    assert (last["evaluate/return"], len(score.returns)) == (score.mean, 3)
    assert last["evaluate/standard_error"] == score.standard_error
    assert recorder.messages[-1].startswith("5 episodes, 13 updates: return ")
    assert recorder.messages[-1].endswith("over 3 episodes")


def test_single_evaluation_episode_has_no_standard_error(tiny: Config, tmp_path: Path) -> None:
    make_trainer(changed(tiny, evaluation_episodes=1), tmp_path).run()
    lines = [line for line in timeless(tmp_path) if "evaluate/return" in line]
    assert {line["evaluate/standard_error"] for line in lines} == {0.0}


def test_run_seed_decides_everything(tiny: Config, tmp_path: Path) -> None:
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trainer = make_trainer(changed(tiny, seed=seed), tmp_path / name)
        torch.manual_seed(len(results))  # global generators have no part in it
        np.random.seed(len(results))  # noqa: NPY002
        trainer.run()
        results.append((timeless(tmp_path / name), parameters(trainer)))
    assert results[0][0] == results[1][0]
    assert equal(results[0][1], results[1][1])
    assert results[0][0] != results[2][0]
    assert not equal(results[0][1], results[2][1])


def test_a_device_that_is_not_there_is_refused_before_any_work(tiny: Config) -> None:
    cases = [("gpu", "device: expected 'cpu' or 'cuda', got 'gpu'")]
    cases.append(("meta", "device: 'meta' cannot be computed on here"))  # as mps elsewhere
    if not torch.cuda.is_available():
        cases.append(("cuda", "device: 'cuda' is not available"))
    for device, message in cases:
        config = replace(tiny, train=replace(tiny.train, device=device))
        with pytest.raises(ValueError, match=message):
            make_world_model(config, 2)


@pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"precision": "fp16"}, "precision: 'fp16' has no kernels on cpu"),
        ({"variant": "persistent"}, "variant: 'persistent' has no kernels on cpu"),
    ],
)
def test_what_a_device_does_not_serve_is_refused_before_anything_is_written(
    overrides: dict[str, str], message: str, tiny: Config, tmp_path: Path
) -> None:
    config = tiny.with_overrides({"imagination": {"backend": "fused", **overrides}})
    with pytest.raises(ValueError, match=message):
        make_trainer(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("toolkit", "devices", "name", "message"),
    [
        (None, 0, "cuda", "'cuda' is not available, torch .* was built without CUDA; install"),
        ("13.0", 0, "cuda", "'cuda' is not available, torch .* sees no GPU or no driver that runs"),
        ("13.0", 2, "cuda:2", "'cuda:2' is not available, expected one of 'cuda:0', 'cuda:1'"),
    ],
)
def test_what_a_gpu_lacks_is_said_in_a_sentence(
    toolkit: str | None,
    devices: int,
    name: str,
    message: str,
    tiny: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.version, "cuda", toolkit)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    config = replace(tiny, train=replace(tiny.train, device=name))
    with pytest.raises(ValueError, match=f"device: {message}"):
        available_device(config)


@pytest.mark.parametrize("kind", [ValueError, ImportError])
def test_a_planner_that_cannot_be_had_is_refused_before_anything_is_written(
    kind: type[Exception], tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **settings: Any) -> None:
        raise kind("precision: 'int8' needs another processor")

    monkeypatch.setattr("planet.ops.reference.cem_plan", refuse)
    with pytest.raises(kind, match="another processor"):
        make_trainer(tiny, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "value"), [("imagination.precision", "int8"), ("planner.budget_ms", 20.0)]
)
def test_a_run_goes_on_with_the_arithmetic_and_the_budget_it_began_with(
    setting: str, value: Any, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, name = setting.split(".")
    monkeypatch.setattr("planet.planning.Imagination.try_out", lambda *given: None)
    make_trainer(tiny, tmp_path)
    with pytest.raises(ValueError, match=f"started with other settings: {setting} was"):
        make_trainer(tiny.with_overrides({section: {name: value}}), tmp_path)


def test_a_run_of_an_older_version_is_refused_by_name(tiny: Config, tmp_path: Path) -> None:
    make_trainer(tiny, tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    del content["imagination"]
    path.write_text(json.dumps(content))
    expected = (
        r"config.json: config: missing setting \['imagination'\], which settings of older versions"
    )
    with pytest.raises(ValueError, match=expected):
        make_trainer(tiny, tmp_path)
