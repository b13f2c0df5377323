"""Runs of recorded episodes: an environment is not needed, an interruption leaves no trace."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from settings import TINY
from toy_runs import Recorder, outcome, timeless

from planet.config import Config, EnvironmentConfig
from planet.experiments.fit import fit
from planet.experiments.open_loop import held_out_chunks, open_loop
from planet.experiments.recorded import Recorded, open_recorded
from planet.experiments.run import make_environment, open_run
from planet.replay import Episode, ReplayBuffer, episode_name, read_episode, write_episode

ENTRIES = 9


def recorded(index: int, **metadata: Any) -> Episode:
    generator = np.random.default_rng(index)
    action = generator.uniform(-1, 1, (ENTRIES, 2)).astype(np.float32)
    reward = generator.random(ENTRIES).astype(np.float32)
    action[0] = reward[0] = 0
    image = generator.integers(0, 256, (ENTRIES, 8, 8, 3), np.uint8)
    return Episode({"image": image}, action, reward, np.zeros(ENTRIES, bool), metadata)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    buffer = ReplayBuffer(folder)
    for index in range(6):
        buffer.add(recorded(index, task="toy-reach", environment_steps=16), 2 * index)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Recorded:
    return open_recorded(folder, validation=0.3)


@pytest.fixture(scope="module")
def config(data: Recorded) -> Config:
    train = replace(TINY.train, initial_updates=7, checkpoint_updates=3)
    return replace(TINY, train=train, environment=data.environment(TINY.environment))


@pytest.fixture(scope="module")
def whole(config: Config, data: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fitted") / "run"
    fit(config, directory, data)
    return directory


# ---- Data ----------------------------------------------------------------------------------------


def test_episodes_are_split_by_the_seed_alone(folder: Path, data: Recorded) -> None:
    names = [{info.path.name for info in part} for part in (data.training, data.validation)]
    assert [len(part) for part in names] == [4, 2]
    assert names[0] | names[1] == {path.name for path in folder.iterdir()}
    assert open_recorded(folder, validation=0.3).validation == data.validation
    others = [open_recorded(folder, validation=0.3, seed=seed).validation for seed in (1, 2, 3)]
    assert any(other != data.validation for other in others)
    for share, count in ((0.0, 1), (0.5, 3), (1.0, 5)):
        assert len(open_recorded(folder, validation=share).validation) == count


def test_sizes_task_and_box_come_from_the_data(tmp_path: Path, data: Recorded) -> None:
    assert data.task == "toy-reach"
    assert {name: shape for name, (_, shape) in data.spec.observation.items()} == {
        "image": (8, 8, 3)
    }
    assert (data.spec.low.tolist(), data.spec.high.tolist()) == ([-1, -1], [1, 1])
    image = np.zeros((3, 4, 4, 6), np.uint8)
    action, vector = np.float32([[0, 0], [3, -0.5], [0, 0]]), np.zeros((3, 5), np.float32)
    box: dict[str, Any] = {"action_low": [-1, -0.5], "action_high": 4}
    for index, task in enumerate("ab"):
        episode = Episode(
            {"image": image, "speed": vector}, action, action[:, 0] * 0, action[:, 0] > 9,
            {**box, "task": task},
        )  # fmt: skip
        write_episode(tmp_path / f"episode-00000{index}.planet", episode)
    other = open_recorded(tmp_path)
    assert other.task == "recorded"
    assert (other.spec.low.tolist(), other.spec.high.tolist()) == ([-1, -0.5], [4, 4])
    made = other.environment(TINY.environment)
    assert (made.image_size, made.render_size, made.frames, made.observe) == (4, 4, 2, "both")
    assert open_recorded(tmp_path, high=[9, 8]).spec.high.tolist() == [9, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high": 0.5}, "expected actions from -1 to 0.5, got 0."),
        ({"low": [1, 2, 3]}, "low: expected a finite number, or 2 of them, got [1, 2, 3]"),
        ({"high": float("nan")}, "high: expected a finite number, or 2 of them, got nan"),
        ({"low": 2}, "low: expected none above high=[1. 1.], got [2. 2.]"),
        ({"validation": 1.5}, "validation: expected a value <= 1, got 1.5"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        open_recorded(folder, **options)


def test_data_that_cannot_be_split_or_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no episodes"):
        open_recorded(tmp_path)
    path = tmp_path / "episode-000000.planet"
    write_episode(path, recorded(0))
    with pytest.raises(ValueError, match="expected 2 episodes or more, one to validate on, got 1"):
        open_recorded(tmp_path)
    (tmp_path / "episode-000001.planet").write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"episode-000001\.planet: length: .* is truncated"):
        open_recorded(tmp_path)


@pytest.mark.parametrize(("repeats", "expected"), [((3, 3), 3), ((3, 2), None), ((0, 0), None)])
def test_actions_are_repeated_as_all_episodes_say(
    tmp_path: Path, repeats: tuple[int, ...], expected: int | None
) -> None:
    for index, repeat in enumerate(repeats):
        write_episode(tmp_path / episode_name(index), recorded(index, action_repeat=repeat))
    assert open_recorded(tmp_path).environment(EnvironmentConfig()).action_repeat == expected


def test_nothing_is_made_to_act_in_where_episodes_name_no_task(tmp_path: Path) -> None:
    for index in range(2):
        write_episode(tmp_path / episode_name(index), recorded(index))
    config = Config(environment=EnvironmentConfig(task=open_recorded(tmp_path).task))
    with pytest.raises(ValueError, match="task: .* got 'recorded', .* name none; .* fit --task"):
        make_environment(config.environment)


# ---- Runs ----------------------------------------------------------------------------------------


def test_a_fitted_run_is_a_run(whole: Path, config: Config, data: Recorded) -> None:
    run = open_run(whole)
    assert (run.episodes, run.updates, run.environment_steps) == (4, 7, 4 * 16)
    run.agent.reset()
    assert run.agent.act({"image": np.zeros((8, 8, 3), np.uint8)}).shape == (2,)
    copies = [read_episode(path) for path in sorted((whole / "episodes").iterdir())]
    for copy, info in zip(copies, data.training, strict=True):
        assert copy.reward.tolist() == read_episode(info.path).reward.tolist()
    chunks = held_out_chunks(data.validation, config.train.chunk_length, 3)
    errors = open_loop(run.agent.world_model, chunks, config.train.seed)
    assert errors.chunks == 2 * (ENTRIES // config.train.chunk_length)
    last = timeless(whole)[-1]
    assert {name: last[name] for name in last if "/" in name} == errors.metrics()


@pytest.mark.parametrize("call", [1, 4, 8])
def test_an_interrupted_fit_goes_on_to_the_same_run(
    config: Config, data: Recorded, whole: Path, tmp_path: Path, call: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path, data, progress=Recorder(raise_at=call))
    fit(config, tmp_path, data)
    assert outcome(tmp_path) == outcome(whole)
    fit(config, tmp_path, data)  # changes nothing any more
    assert outcome(tmp_path) == outcome(whole)


def test_a_fit_that_was_killed_while_copying_begins_anew(
    config: Config, data: Recorded, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, count = ReplayBuffer.add, 0

    def killed(self: ReplayBuffer, *arguments: Any) -> Path:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return add(self, *arguments)

    monkeypatch.setattr(ReplayBuffer, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(config, tmp_path, data)
    fit(config, tmp_path, data)
    assert outcome(tmp_path) == outcome(whole)


def test_other_data_or_sizes_are_refused(
    config: Config, data: Recorded, whole: Path, folder: Path, tmp_path: Path
) -> None:
    other = open_recorded(folder, validation=0.3, seed=1)
    with pytest.raises(ValueError, match="expected the 4 episodes that the run has"):
        fit(config, whole, other)
    large = replace(config.environment, image_size=16, render_size=16)
    message = "environment.image_size: expected 8 as in the data, got 16"
    with pytest.raises(ValueError, match=message):
        fit(replace(config, environment=large), tmp_path / "run", data)
    long = replace(config, train=replace(config.train, chunk_length=20))
    with pytest.raises(ValueError, match="chunk_length: expected at most 9, the entries of the"):
        fit(long, tmp_path / "run", data)
    assert not (tmp_path / "run").exists()
