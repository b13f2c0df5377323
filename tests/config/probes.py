"""Shows where a setting counts: small works whose result is compared."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import settings
import torch
from learners import learner_of, replay
from settings import changed, pixel_spec

from planet.config import Config
from planet.latent import LatentState
from planet.models import WorldModel
from planet.noise import row_seeds
from planet.planning import Imagination, make_imagination, make_planner
from planet.protocols import Chunk, Shapes
from planet.replay import Episode
from planet.systems.planet import build, make_world_model
from planet.training import schedule
from planet.training.loss import sequence_loss
from planet.training.progress import Progress
from planet.training.trainer import Trainer

pytest.importorskip("gymnasium")


TINY = settings.TINY.with_overrides({
    "planner": {"candidates": 12, "iterations": 2},
    "train": {"episodes": 3, "initial_updates": 1, "updates_per_episode": 1, "free_nats": 0.0,
              "evaluation_interval": 0},
})  # fmt: skip
# Convolutions that turn one pixel into eight.
CONV = TINY.with_overrides({
    "model": {"decoder": "conv", "decoder_input": 16, "decoder_channels": (4,),
              "decoder_kernels": (2, 6), "decoder_stride": 2},
})  # fmt: skip


def episode(config: Config, tmp_path: Path) -> list[object]:
    """Frames and rewards of one episode under constant actions."""
    from planet.envs import make

    environment = make(**dataclasses.asdict(config.environment))
    observation, _ = environment.reset(seed=3)
    seen: list[object] = [observation.tolist()]
    done = False
    while not done:
        observation, reward, _, done, _ = environment.step(np.full(2, 0.5, np.float32))
        seen += [observation.tolist(), float(reward)]
    environment.close()
    return seen


def renderer(config: Config, tmp_path: Path) -> dict[str, Any]:
    """Settings that the control suite's environment is made with; tests/envs looks at pixels."""
    from planet.envs import make

    given: dict[str, Any] = {}

    def record(**settings: Any) -> SimpleNamespace:
        given.update(settings)
        return SimpleNamespace()

    module = SimpleNamespace(DMControlEnv=record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "planet.envs.dmc", module)
        make(**dataclasses.asdict(config.environment))
    return given


def shapes(config: Config, tmp_path: Path) -> dict[str, list[int]]:
    """Parameter shapes by name."""
    model = make_world_model(config, action_size=2)
    return {name: list(parameter.shape) for name, parameter in model.named_parameters()}


VECTOR: Shapes = {"vector": (np.float32, (4,))}


def vector_shapes(config: Config, tmp_path: Path) -> dict[str, list[int]]:
    """Parameter shapes by name of a model that observes a vector."""
    model = make_world_model(config, 2, VECTOR)
    return {name: list(parameter.shape) for name, parameter in model.named_parameters()}


def vector_loss(config: Config, tmp_path: Path) -> float:
    """Total loss of the first parameters on a fixed batch of vectors."""
    model, of_pictures = make_world_model(config, 2, VECTOR), chunk()
    vector = of_pictures.observation["image"].flatten(2)[..., :4].float()
    terms = sequence_loss(
        model, replace(of_pictures, observation={"vector": vector}), config.train, row_seeds(0, 2)
    )
    return terms["total"].item()


def parameters(config: Config, tmp_path: Path) -> list[object]:
    """Initial parameters."""
    model = make_world_model(config, action_size=2)
    return [p.detach().flatten().tolist() for p in model.parameters()]


def chunk(steps: int = 4, batch: int = 2, size: int = 8) -> Chunk:
    generator = torch.Generator().manual_seed(5)
    observation = torch.randint(0, 256, (steps, batch, size, size, 3), generator=generator)
    action = torch.rand(steps, batch, 2, generator=generator) * 2 - 1
    reward = torch.rand(steps, batch, generator=generator)
    ended = torch.zeros(steps, batch, dtype=torch.bool)
    return Chunk({"image": observation.byte()}, action, reward, ended)


def model_loss(config: Config, tmp_path: Path) -> float:
    """Total loss of fixed parameters on a fixed batch."""
    model = make_world_model(config, action_size=2)
    for index, parameter in enumerate(model.parameters()):
        torch.nn.init.normal_(parameter, 0, 0.4, torch.Generator().manual_seed(index))
    terms = sequence_loss(model, chunk(), config.train, row_seeds(0, 2))
    return terms["total"].item()


def optimizer_step(config: Config, tmp_path: Path) -> list[object]:
    """Parameters after two gradient steps from the same start."""
    model = make_world_model(replace(config, train=replace(config.train, seed=0)), action_size=2)
    learner = learner_of(model, config.train)
    for _ in range(2):
        learner.update(replay(chunk()))
    return [p.detach().flatten().tolist() for p in model.parameters()]


def imagination(config: Config, model: WorldModel) -> Imagination:
    latent = LatentState(torch.ones(1, 5), torch.ones(1, 3))
    low, high = config.planner.low, config.planner.high
    planner, weights = make_planner(config.planner), model.rollout_weights()
    return make_imagination(config.imagination, planner, weights, latent, low=low, high=high)


def plan(config: Config, tmp_path: Path) -> list[object]:
    """Action means and stddevs of a plan with fixed weights."""
    model = make_world_model(TINY, action_size=2)
    for index, parameter in enumerate(model.parameters()):
        torch.nn.init.normal_(parameter, 0, 1.0, torch.Generator().manual_seed(index))
    planner, budget = make_planner(config.planner), config.planner.budget_ms
    planned = planner.plan(imagination(config, model), budget_ms=budget)
    return [planned.mean.tolist(), planned.stddev.tolist(), planned.iterations]


def planner_name(config: Config, tmp_path: Path) -> str:
    """The kind of planner that is made."""
    return type(make_planner(config.planner)).__name__


def scorer(config: Config, tmp_path: Path) -> str:
    """Says how making a learner ends, whose agent plans in the model alone."""
    try:
        build(config, pixel_spec(8))
    except ValueError as error:
        return str(error)
    return "is made"


def arithmetic(config: Config, tmp_path: Path) -> tuple[str, str, str]:
    """The backend that is asked for a plan, in which precision and variant; tests/ops has more."""
    asked: list[tuple[str, str, str]] = []
    model = make_world_model(TINY, action_size=2)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("reference", "fused"):

            def note(
                *tensors: Any, precision: str, variant: str, name: str = name, **_: Any
            ) -> None:
                asked.append((name, precision, variant))

            patch.setattr(f"planet.ops.{name}.cem_plan", note)
        make_planner(config.planner).plan(imagination(config, model))
    return asked[0]


def updates(config: Config, tmp_path: Path) -> list[tuple[str, str]]:
    """Backend and precision that the losses of a learner are computed in."""
    asked: list[tuple[str, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planet.systems.planet.require_bf16", lambda: None)

        def compiled(model: WorldModel, precision: str) -> WorldModel:
            asked.append(("fused", precision))
            return model

        patch.setattr("planet.systems.planet.CompiledModel", compiled)
        build(config, pixel_spec(8))
    return asked or [("reference", "fp32")]


class FakeEnvironment:
    """Four steps of noise frames; counts nothing, keeps nothing."""

    def __init__(self, size: int) -> None:
        from gymnasium.spaces import Box

        self.observation_space = Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self.size, self.left = size, 0

    def reset(self, *, seed: int | None = None) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        self.generator, self.left = np.random.default_rng(seed), 4
        return self._frame(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return self._frame(), float(np.abs(action).sum()), False, self.left == 0, {}

    def _frame(self) -> npt.NDArray[np.uint8]:
        return self.generator.integers(0, 256, (self.size, self.size, 3), np.uint8)


def run(config: Config, tmp_path: Path) -> list[object]:
    """The metrics (without times) of a whole tiny run and the actions that it collected."""
    from planet.replay import read_episode
    from planet.training.metrics import read_metrics

    trainer = Trainer(config, tmp_path, FakeEnvironment(8), build)
    trainer.run()
    lines = [
        {k: v for k, v in line.items() if "seconds" not in k} for line in read_metrics(tmp_path)
    ]
    episodes = sorted((tmp_path / "episodes").glob("*.planet"))
    return [lines, [read_episode(path).action.tolist() for path in episodes]]


def batches(config: Config, tmp_path: Path) -> list[object]:
    """Draws as training does, after several episodes with visible numbers were added."""
    trainer = Trainer(config, tmp_path, FakeEnvironment(8), build)
    drawn: list[torch.Tensor] = []
    for index in range(6):
        observation = {"image": np.full((7, 8, 8, 3), index, np.uint8)}
        reward = np.full(7, index, np.float32)
        reward[0] = 0
        action, ended = np.zeros((7, 2), np.float32), np.zeros(7, bool)
        trainer.replay.add(Episode(observation, action, reward, ended))
        for _ in range(2):
            generator = np.random.default_rng(len(drawn))
            drawn.append(trainer.replay.sample(32, 4, generator).observation["image"])
    return [list(d.shape) for d in drawn] + [d[0, :, 0, 0, 0].tolist() for d in drawn]


def exploration(config: Config, tmp_path: Path) -> list[float]:
    """Stddev of the exploration noise over the first four planned episodes."""
    return [
        schedule.exploration_stddev(config.train, config.train.seed_episodes + k) for k in range(4)
    ]


def saves(config: Config, tmp_path: Path) -> list[int]:
    """After how many episodes the checkpoint is replaced."""
    trainer = Trainer(config, tmp_path, FakeEnvironment(8), build)
    episodes: list[int] = []
    keep = trainer.save
    trainer.save = lambda: (episodes.append(trainer.episodes), keep())[1]  # type: ignore[method-assign]
    trainer.run()
    return episodes


def device(config: Config, tmp_path: Path) -> str:
    """Says where the model is made; "meta" needs no hardware."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planet.training.device._require_numbers", lambda device: None)
        return str(make_world_model(config, action_size=2).device)


def threads(config: Config, tmp_path: Path) -> set[int]:
    """On how many threads a run computes; torch's own number is 1 in tests."""
    seen: set[int] = set()

    class Watch(Progress):
        def advance(self, **values: float) -> None:
            seen.add(torch.get_num_threads())

    Trainer(config, tmp_path, FakeEnvironment(8), build, Watch()).run()
    assert torch.get_num_threads() == 1  # as before
    return seen


def convolutions(config: Config, tmp_path: Path) -> set[tuple[bool, bool]]:
    """cuDNN's switches while a run updates: deterministic, and choosing the fastest."""
    seen: set[tuple[bool, bool]] = set()

    def build_here(config: Config, spec: Any) -> Any:
        learner = build(changed(config, "train.device", "cpu"), spec)
        update = learner.update

        def look(replay: Any) -> Any:
            seen.add((torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark))
            return update(replay)

        learner.update = look  # type: ignore[method-assign]
        return learner

    Trainer(config, tmp_path, FakeEnvironment(8), build_here).run()
    return seen
