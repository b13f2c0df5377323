"""Learning whether episodes go on: the cross entropy, and runs of a task that ends."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from settings import TINY
from small_models import make_chunk, make_model
from torch import Tensor

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")

from envs.test_gym import Falling
from toy_runs import Recorder, make_trainer, outcome, timeless

from planet.config import TrainConfig
from planet.envs import make
from planet.experiments.run import open_run
from planet.models import WorldModel
from planet.noise import row_seeds
from planet.protocols import Chunk, Filtered
from planet.replay import read_episode
from planet.training.loss import sequence_loss

SEEDS = row_seeds(0, 3)
CONFIG = TINY.with_overrides({
    "environment": {"task": "gym:Falling-v0", "observe": "vectors", "control_steps": 9},
    "model": {"continuation": True, "vector_hidden": (6,)},
    "train": {"episodes": 4, "evaluation_interval": 0},
})  # fmt: skip


def ending_chunk() -> Chunk:
    """Noise; the first and the last of three rows end at the fourth step."""
    chunk = make_chunk()
    chunk.terminated[-1] = torch.tensor([True, False, True])
    return chunk


def terms_and_features(model: WorldModel, chunk: Chunk) -> tuple[dict[str, Tensor], Any]:
    """Terms of the loss, and in float64 what its heads read, [T, B, D+S]."""
    found: list[Filtered] = []
    filter_chunk = model.filter_chunk

    def look(*arguments: Tensor) -> Filtered:
        found.append(filter_chunk(*arguments))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "filter_chunk", look)
        terms = sequence_loss(model, chunk, TrainConfig(free_nats=0.0), SEEDS)
    return terms, found[0].latent.features.detach().double().numpy()


def test_the_loss_is_the_cross_entropy_of_what_came_with_each_observation() -> None:
    model, chunk = make_model(continuation=True, reward_layers=0), ending_chunk()
    terms, features = terms_and_features(model, chunk)
    (weight,), (bias,) = model.reward_model.weights, model.reward_model.biases
    row, offset = weight[1].detach().double().numpy(), bias[1].item()
    costs = []
    for t in range(4):
        for b in range(3):
            going = 1 / (1 + np.exp(-(features[t, b] @ row + offset)))
            costs.append(-np.log(1 - going if t == 3 and b != 1 else going))
    assert terms["continuation"].item() == pytest.approx(np.mean(costs), rel=1e-5)


def test_the_weight_scales_the_cross_entropy_and_nothing_else() -> None:
    model, chunk = make_model(continuation=True), ending_chunk()
    one, three = (
        sequence_loss(model, chunk, TrainConfig(continuation_weight=weight), SEEDS)
        for weight in (1.0, 3.0)
    )
    rise = three.pop("total") - one.pop("total")
    torch.testing.assert_close(rise, 2 * one["continuation"], rtol=1e-4, atol=1e-3)
    assert one == three


@pytest.mark.parametrize(("term", "row"), [("reward", 0), ("continuation", 1)])
def test_each_term_moves_its_own_row_of_the_last_layer_and_all_that_it_reads(
    term: str, row: int
) -> None:
    model = make_model(continuation=True, reward_layers=1)
    sequence_loss(model, ending_chunk(), TrainConfig(), SEEDS)[term].backward()  # type: ignore[no-untyped-call]
    read = model.reward_model.weights[0].grad, model.latent_model.input.weight.grad
    assert all(gradient is not None and gradient.any() for gradient in read)
    last = model.reward_model.weights[-1].grad
    assert last is not None and [bool(each.any()) for each in last] == [row == 0, row == 1]


def test_without_continuation_there_is_no_such_term() -> None:
    model, chunk = make_model(), ending_chunk()
    assert "continuation" not in sequence_loss(model, chunk, TrainConfig(), SEEDS)
    assert model.outcome(model.initial(2))[1] is None


# ---- Runs ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def falling() -> Iterator[None]:
    """Registers the task, whose episodes end at the sixth step."""
    gymnasium.register("Falling-v0", Falling, max_episode_steps=9)
    yield
    del gymnasium.registry["Falling-v0"]


def trainer(directory: Path, progress: Any = None, **train: Any) -> Any:
    environment = make("gym:Falling-v0", observe="vectors", control_steps=9)
    config = replace(CONFIG, train=replace(CONFIG.train, **train))
    return make_trainer(config, directory, progress, environment)


def test_an_interrupted_run_goes_on_to_the_same_end_and_plans(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with trainer(whole) as undisturbed:
        undisturbed.run()
    with trainer(parts, Recorder(8)) as first, pytest.raises(KeyboardInterrupt):
        first.run()
    assert 0 < first.learner.updates < undisturbed.learner.updates
    with trainer(parts) as second:
        second.run()
    assert outcome(parts) == outcome(whole)
    assert "train/continuation" in timeless(whole)[-1]
    for path in (whole / "episodes").glob("*.planet"):
        assert read_episode(path).terminated.tolist() == [False] * 6 + [True]
    agent = open_run(whole).agent
    assert agent.imagination.weights.continuation
    observation, _ = make("gym:Falling-v0", observe="vectors").reset(seed=1)
    agent.reset(0)
    assert np.isfinite(agent.act(observation)).all()
