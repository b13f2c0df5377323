"""A learner and a planner that nobody knows are trained, evaluated and profiled like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from small_run import train
from toy_runs import timeless, toy

from planet.acting.baselines import RandomPolicy
from planet.config import ActingConfig, Config
from planet.experiments.run import make_environment, open_environment, open_run
from planet.experiments.video import film
from planet.planning import PLANNERS
from planet.profiling import measure_session, run_session
from planet.profiling.file import load_profile
from planet.profiling.table import table
from planet.protocols import Learner, NonFiniteError, Plan, Policy, Replay, Spec
from planet.storage.checkpoint import CheckpointError, load_checkpoint
from planet.training.progress import Progress
from planet.training.score import play, score
from planet.training.trainer import Trainer


class Guesser:
    """Learns nothing, and acts at random."""

    def __init__(self, spec: Spec) -> None:
        self.updates, self._policy = 0, RandomPolicy(spec)

    def update(self, replay: Replay) -> Mapping[str, torch.Tensor]:
        chunk = replay.sample(1, 2, np.random.default_rng(self.updates))
        self.updates += 1
        return {"total": chunk.reward.mean()}

    def policy(self, episodes: int) -> Policy:
        return self._policy

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]


def guess(config: Config, spec: Spec) -> Learner:
    return Guesser(spec)


class Interrupting(Progress):
    """Presses Ctrl-C at the ninth step: between two updates."""

    left = 9

    def advance(self, **values: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def guessed(tiny: Config, tmp_path: Path) -> Path:
    """A finished run of the guesser, which was interrupted once."""
    with (
        Trainer(tiny, tmp_path / "run", toy(), guess, Interrupting()) as trainer,
        pytest.raises(KeyboardInterrupt),
    ):
        trainer.run()
    with Trainer(tiny, tmp_path / "run", toy(), guess) as trainer:
        assert 0 < trainer.learner.updates < 13
        trainer.run()
    return tmp_path / "run"


def test_a_learner_that_guesses_is_trained_as_without_an_interruption(
    tiny: Config, guessed: Path, tmp_path: Path
) -> None:
    with Trainer(tiny, tmp_path / "whole", toy(), guess) as trainer:
        trainer.run()
    lines = timeless(guessed)
    assert lines == timeless(tmp_path / "whole")
    assert [line["updates"] for line in lines if "train/total" in line] == [4, 7, 10, 13]


def test_a_learner_that_guesses_is_scored_filmed_and_profiled(
    guessed: Path, tmp_path: Path
) -> None:
    imageio = pytest.importorskip("imageio.v3", reason="videos need the train extra")
    run = open_run(guessed, build=guess)
    played = play(toy(), run.policy, 2, seed=0)
    last = [line for line in timeless(guessed) if "evaluate/return" in line][-1]
    assert score("guesser", played[:1]).mean == last["evaluate/return"]
    frames = film(run.policy, played[0], tmp_path / "video.mp4", fps=10)
    video = imageio.imread(tmp_path / "video.mp4", plugin="FFMPEG")
    assert video.shape[:3] == (frames, 336, 272)  # the camera's frames alone
    timed = measure_session(run_session(run, toy(), {"": ActingConfig.of(run.config)}), steps=6)
    assert [stage.name for stage in timed.first.stages] == ["act", "render", "environment"]
    assert "render  " in table(timed)
    with pytest.raises(TypeError, match="run: expected an agent that plans, got RandomPolicy"):
        run.agent  # noqa: B018


@pytest.mark.parametrize(("observe", "frames"), [("vectors", 1), ("both", 2)])
def test_what_is_observed_is_kept_and_the_run_finds_its_environment_again(
    tiny: Config, tmp_path: Path, observe: str, frames: int
) -> None:
    config = tiny.with_overrides({"environment": {"observe": observe, "frames": frames}})
    environment = make_environment(config.environment)
    with Trainer(config, tmp_path, environment, guess) as trainer:
        trainer.run()
        kept = trainer.replay.sample(2, 3, np.random.default_rng(0)).observation
    image = {"image": ("uint8", (8, 8, 6))} if observe == "both" else {}
    expected = image | {"vector": ("float32", (4,))}
    run = open_run(tmp_path, build=guess)
    assert run.spec.observation == trainer.spec.observation == expected
    shapes = {name: (array.dtype, array.shape[2:]) for name, array in kept.items()}
    assert shapes == {
        name: (getattr(torch, dtype), shape) for name, (dtype, shape) in expected.items()
    }
    again = open_environment(run)
    played = play(again, run.policy, 1, seed=0)[0]
    assert {*played.observation} == {*expected}
    with pytest.raises(ValueError, match="environment: expected observations .*got image uint8"):
        pixels = replace(run.config.environment, observe="pixels", frames=1)
        open_environment(replace(run, config=replace(run.config, environment=pixels)))


def test_a_run_on_vectors_is_not_filmed(
    tiny: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tyro", reason="the command line needs the train extra")
    from planet.cli import evaluate, main
    from planet.cli.options import parse_options

    config = tiny.with_overrides({"environment": {"observe": "vectors"}})
    with Trainer(config, tmp_path, make_environment(config.environment), guess) as trainer:
        trainer.save()
    monkeypatch.setattr(evaluate, "open_run", partial(open_run, build=guess))
    assert main(["evaluate", str(tmp_path), "--video"]) == 1
    expected = "video: expected a run on pixels, or --no-video, got one on ['vector']"
    assert expected in capsys.readouterr().err
    assert not parse_options("evaluate", [str(tmp_path)], evaluate._default).video


@dataclass(frozen=True)
class Still:
    """Plans to do nothing: the middle of the box."""

    horizon: int

    def plan(
        self, scorer: Any, seed: Any = 0, *, warm: Plan | None = None, budget_ms: Any = None
    ) -> Plan:
        middle = (scorer.low + scorer.high) / 2
        mean = middle.expand(self.horizon, *middle.shape)
        best, kept = torch.zeros(scorer.batch_size), mean[:, :, None][:, :, :0]
        return Plan(middle, mean, torch.zeros_like(mean), best, 1, kept)


def test_a_planner_that_does_nothing_takes_a_name_by_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tyro", reason="the command line needs the train extra")
    from planet.cli import main

    monkeypatch.setitem(PLANNERS, "cem", Still)
    run = str(tmp_path / "run")
    assert main(train(tmp_path / "run")) == 0
    assert main(["evaluate", run, "--episodes", "1", "--no-video", "--baselines"]) == 0
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["scores"]
    means = {score["policy"]: score["mean"] for score in scores}
    assert means["agent"] == means["zero actions"] != means["random actions"]
    assert main(["profile", run, "--steps", "2", "--json", str(tmp_path / "profile.json")]) == 0
    profile = load_profile(tmp_path / "profile.json").first
    names = ["act", "filter", "plan", "explore", "around", "render", "environment"]
    assert [stage.name for stage in profile.stages] == names
    assert isinstance(open_run(run).agent.planner, Still)


# ---- Learners that go wrong ----------------------------------------------------------------------


class Overflowing(Guesser):
    """Has an infinite metric at its third update."""

    def update(self, replay: Replay) -> Mapping[str, torch.Tensor]:
        metrics = super().update(replay)
        return {**metrics, "size": torch.tensor(torch.inf if self.updates == 3 else 1.0)}


class Refusing(Guesser):
    """Finds by itself that its third update is not finite."""

    def update(self, replay: Replay) -> Mapping[str, torch.Tensor]:
        chunk = replay.sample(1, 2, np.random.default_rng(self.updates))
        if self.updates == 2:
            raise NonFiniteError("size", self.updates, chunk)
        return super().update(replay)


def test_what_could_not_be_read_again_is_not_saved(tiny: Config, tmp_path: Path) -> None:
    config = tiny.with_overrides({"train": {"checkpoint_updates": 1}})
    build = lambda config, spec: Overflowing(spec)  # noqa: E731
    with (
        Trainer(config, tmp_path, toy(), build) as trainer,
        pytest.raises(CheckpointError, match="sums: expected finite numbers"),
    ):
        trainer.run()
    with Trainer(config, tmp_path, toy(), build) as again:
        assert again.learner.updates == 2


def test_a_batch_is_kept_whoever_finds_that_it_is_not_finite(tiny: Config, tmp_path: Path) -> None:
    with (
        Trainer(tiny, tmp_path, toy(), lambda config, spec: Refusing(spec)) as trainer,
        pytest.raises(NonFiniteError, match="^size is not finite; .* the batch is saved in "),
    ):
        trainer.run()
    assert load_checkpoint(tmp_path / "bad_batch.pt")["update"] == 2


def test_an_interrupt_while_a_checkpoint_is_begun_loses_nothing(
    tiny: Config, tmp_path: Path
) -> None:
    """As a second Ctrl-C while the first one saves, and the learner waits for its device."""

    class Waiting(Guesser):
        def state_dict(self) -> dict[str, Any]:
            if self.updates == 3 and not asked:
                asked.append(self.updates)
                raise KeyboardInterrupt
            return super().state_dict()

    asked: list[int] = []
    config = tiny.with_overrides({"train": {"checkpoint_updates": 3}})
    with (
        Trainer(config, tmp_path, toy(), lambda config, spec: Waiting(spec)) as trainer,
        pytest.raises(KeyboardInterrupt),
    ):
        trainer.run()
    assert trainer.saved == (2, 3)
