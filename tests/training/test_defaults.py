"""torch's default dtype and device are the caller's: nothing here depends on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import fused_is_built
from small_models import make_model
from toy_runs import model_of

from planet import envs
from planet.acting.agent import Agent
from planet.config import Config, ImaginationConfig
from planet.experiments.run import open_run
from planet.experiments.video import imagine_episode
from planet.latent import LatentState
from planet.models import WorldModel
from planet.noise import row_seeds
from planet.planning import CEMPlanner, Imagination
from planet.replay import read_episode
from planet.systems.planet import build
from planet.training.trainer import Trainer
from planet.weights.random import random_weights

Defaults = Callable[[], AbstractContextManager[Any]]


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def trained(tiny: Config, directory: Path) -> dict[str, Any]:
    """Everything that a run computes: parameters, episodes, an exploring agent's step, a video."""
    trainer = Trainer(tiny, directory, envs.make("toy-reach", image_size=8, control_steps=4), build)
    trainer.run()
    episode = read_episode(sorted((directory / "episodes").iterdir())[-1])
    imagined = imagine_episode(model_of(trainer), episode, context=1, length=3)
    found: dict[str, Any] = dict(model_of(trainer).state_dict())
    found |= {"reward": episode.reward, "action": episode.action}
    return found | {"seen": imagined.reconstruction, "predicted": imagined.prediction}


def planned(model: WorldModel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    frame = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    for name in ("reference", "fused") if fused_is_built() else ("reference",):
        for captured in (False, True):
            agent = Agent(
                model, CEMPlanner(2, 8, 2, 3), low=[-1, -2], high=np.array([1.0, 2.0]),
                imagination=ImaginationConfig(backend=name), exploration_stddev=0.5,
                capture=captured,
            )  # fmt: skip
            agent.reset(row_seeds(1, 2))
            actions = [agent.act(frame, explore=True) for _ in range(2)]
            agent.reset([7], rows=[1])
            found[f"{name} {captured}"] = np.stack([*actions, agent.act(frame)])
    return found


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        got, wanted = torch.as_tensor(value), torch.as_tensor(expected[name])
        assert got.dtype == wanted.dtype, name
        assert torch.equal(got, wanted), name


def test_a_run_has_the_same_bits_with_float64_as_default(tiny: Config, tmp_path: Path) -> None:
    expected = trained(tiny, tmp_path / "float32")
    with float64():
        found = trained(tiny, tmp_path / "float64")
    same(found, expected)


OTHERS = pytest.mark.parametrize(
    "defaults", [float64, lambda: torch.device("meta")], ids=["float64", "meta"]
)


@OTHERS
def test_a_run_goes_on_with_other_defaults(
    tiny: Config, tmp_path: Path, defaults: Defaults
) -> None:
    def train(directory: Path, episodes: int) -> dict[str, Any]:
        config = replace(tiny, train=replace(tiny.train, episodes=episodes))
        environment = envs.make("toy-reach", image_size=8, control_steps=4)
        with closing(Trainer(config, directory, environment, build)) as trainer:
            trainer.run()
        return dict(open_run(directory).agent.world_model.state_dict())

    expected = train(tmp_path / "never changed", 5)
    train(tmp_path / "run", 3)
    with defaults():
        train(tmp_path / "run", 4)
    same(train(tmp_path / "run", 5), expected)


@OTHERS
def test_agents_and_random_snapshots_have_the_same_bits_with_other_defaults(
    defaults: Defaults, tiny: Config
) -> None:
    model = make_model()
    expected, snapshot = planned(model), vars(random_weights(tiny.model, 2))
    with defaults():
        found, other = planned(model), vars(random_weights(tiny.model, 2))
    same(found, expected)
    names = [name for name, value in snapshot.items() if isinstance(value, torch.Tensor)]
    same({name: other[name] for name in names}, {name: snapshot[name] for name in names})


@pytest.mark.parametrize("precision", ["int8", "fp16", "bf16"])
def test_returns_have_the_same_bits_with_float64_as_default(tiny: Config, precision: str) -> None:
    weights, plans = random_weights(tiny.model, 2), []
    zeros = weights.input_weight.new_zeros
    latent = LatentState(zeros(1, weights.belief_size), zeros(1, weights.state_size))
    for defaults in (nullcontext, float64):
        with defaults():
            imagination = Imagination(weights, latent, backend="reference", precision=precision)
            plans.append(CEMPlanner(2, 8, 1, 3).plan(imagination))
    assert torch.equal(plans[0].mean, plans[1].mean)
    assert torch.equal(plans[0].best_return, plans[1].best_return)
