"""Runs of every design from end to end: trained, gone on, scored, filmed, profiled, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from settings import TINY
from small_models import frame

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")
from toy_runs import Recorder, make_trainer, outcome

from planet.cli import main
from planet.cli.train import _summary
from planet.config import Config
from planet.envs.toy import ToyReachEnv
from planet.experiments.run import open_run
from planet.models.model_filter import ModelFilter
from planet.noise import row_seeds
from planet.ops import reference
from planet.weights.file import load_filter_weights

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "RNN of pictures": ({"stochastic": False}, {}),
    "SSM of pictures": ({"transition": "ssm"}, {}),
    "RSSM of vectors": ({}, {"observe": "vectors"}),
    "encoder of two pictures and vectors": (
        {"transition": "ssm", "posterior": "encoder"}, {"observe": "both", "frames": 2},
    ),
}  # fmt: skip


def config_of(row: str) -> Config:
    model, environment = ROWS[row]
    return TINY.with_overrides({
        "model": {**model, "vector_hidden": (6,)}, "environment": environment,
        "train": {"episodes": 3, "evaluation_interval": 0},
    })  # fmt: skip


def trainer(config: Config, directory: Path, progress: Any = None) -> Any:
    shown = config.environment
    environment = ToyReachEnv(
        image_size=8, control_steps=4, observe=shown.observe, frames=shown.frames
    )
    return make_trainer(config, directory, progress, environment)


@pytest.fixture(scope="module", params=ROWS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of each row, which was interrupted in the middle of learning."""
    config, directory = config_of(request.param), tmp_path_factory.mktemp("run")
    with trainer(config, directory, Recorder(8)) as first, pytest.raises(KeyboardInterrupt):
        first.run()
    assert 0 < first.learner.updates < 7
    with trainer(config, directory) as second:
        second.run()
    return directory


def test_an_interrupted_run_goes_on_to_the_end_of_one_that_nothing_disturbs(
    run: Path, tmp_path: Path
) -> None:
    with trainer(Config.load(run / "config.json"), tmp_path) as undisturbed:
        undisturbed.run()
    assert outcome(run) == outcome(tmp_path)


def test_a_run_begins_by_telling_the_belief_that_its_model_has(tmp_path: Path) -> None:
    config = config_of("SSM of pictures")
    with trainer(config, tmp_path) as made:
        assert "  model        belief 0, state " in _summary(config, made)


def test_a_run_is_scored_profiled_and_filmed_where_it_has_pictures(run: Path) -> None:
    config = Config.load(run / "config.json")
    if config.model.transition == "ssm" and config.environment.frames == 1:
        pytest.skip("acts as an agent of two pictures does")
    filmed = config.environment.observe != "vectors"
    options = ["--context", "2", "--length", "4"] if filmed else ["--no-video"]
    assert main(["evaluate", str(run), "--episodes", "1", *options]) == 0
    (scored,) = json.loads((run / "scores.json").read_text())["scores"]
    assert np.isfinite(scored["mean"])
    assert (run / "evaluation.mp4").exists() == filmed
    assert main(["profile", str(run), "--steps", "3"]) == 0


def test_an_agent_is_exported_whose_filter_cpp_has_and_others_are_refused_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent, file = open_run(run).agent, tmp_path / "weights"
    refused = isinstance(agent.weights, ModelFilter)
    assert main(["export", str(run), str(file)]) == refused
    if refused:
        assert not file.exists()
        message, seen = capsys.readouterr().err, agent.weights.observation
        assert "run: expected a model whose filter C++ has" in message
        assert str({name: shape for name, (_, shape) in seen.items()}) in message
        return
    assert not agent.world_model.config.stochastic
    weights, seeds = load_filter_weights(file), row_seeds(3, 1)
    latent, seen = agent.world_model.initial(1), torch.from_numpy(frame(0, 1))
    model = agent.world_model
    with torch.no_grad():
        inputs = model.inputs({"image": seen[None]}, seeds)
        noise = torch.full((1, 1, model.config.state_size), 100.0)  # moves no mean
        own = model.filter_chunk(model.embed(inputs), torch.ones(1, 1, 2), noise)
    read = reference.filter_step(weights, latent, torch.ones(1, 2), seen, seeds)
    torch.testing.assert_close(read.state, own.latent.state[0])
