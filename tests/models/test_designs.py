"""Every design of the latent model, from pictures, vectors and both: a row per design."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from models.test_compiled import far, step
from ops.fused_support import BUILT, KERNELS, isa, needs_extension
from ops.tolerances import FILTER_STEP, STEP, latent_error
from settings import TINY
from small_models import SMALL
from torch import Tensor

from planet.config import ImaginationConfig, TrainConfig
from planet.latent import LatentState
from planet.models import WorldModel
from planet.models.compiled import CompiledModel
from planet.models.model_filter import ModelFilter
from planet.noise import STREAM_POSTERIOR, normals, row_seeds
from planet.ops import backend, reference
from planet.ops.dynamics import imagine
from planet.planning import CEMPlanner, make_imagination
from planet.protocols import Chunk, Shapes, Spec
from planet.systems.planet import build
from planet.training.loss import sequence_loss
from planet.weights.filter_weights import FilterWeights

T, B, A, S = 4, 3, 2, SMALL.state_size
RNN = {"stochastic": False}
DESIGNS: dict[str, dict[str, Any]] = {
    "RSSM": {},
    "SSM": {"transition": "ssm"},
    "RNN": RNN,
    "SSM of means": {"transition": "ssm", "stochastic": False},
    "encoder": {"posterior": "encoder", "transition": "ssm"},
    "encoder with a belief": {"posterior": "encoder"},
    "encoder of means": {"posterior": "encoder", "stochastic": False},
}
IMAGE: Shapes = {"image": (np.uint8, (8, 8, 3))}
FRAMES: Shapes = {"image": (np.uint8, (8, 8, 6))}  # two pictures
VECTORS: Shapes = {"angle": (np.float32, (2,)), "speed": (np.float32, (3,))}
SEEN: dict[str, Shapes] = {"image": IMAGE, "vectors": VECTORS, "both": {**VECTORS, **FRAMES}}
each_design = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
each_seen = pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
EVERYTHING = TrainConfig(
    image_weight=0.7, vector_weight=1.7, free_nats=0.0, global_prior_weight=0.2,
    overshooting_distance=3, overshooting_weight=0.9, overshooting_reward_weight=5.0,
    overshooting_observation_weight=0.4,
)  # fmt: skip


def make(design: dict[str, Any], seen: Shapes = IMAGE, scale: float = 0.5) -> WorldModel:
    """A small model of normal parameters."""
    model = WorldModel(replace(SMALL, vector_hidden=(6,), **design), A, seen)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


def chunk_of(seen: Shapes) -> Chunk:
    generator = torch.Generator().manual_seed(1)

    def array(dtype: Any, shape: tuple[int, ...]) -> Tensor:
        if dtype == np.uint8:
            return torch.randint(0, 256, (T, B, *shape), generator=generator, dtype=torch.uint8)
        return torch.randn(T, B, *shape, generator=generator) * 5

    return Chunk(
        {name: array(dtype, shape) for name, (dtype, shape) in seen.items()},
        torch.rand(T, B, A, generator=generator) * 2 - 1,
        torch.randn(T, B, generator=generator),
        torch.zeros(T, B, dtype=torch.bool),
    )


def gradients(model: WorldModel, config: TrainConfig) -> dict[str, Tensor]:
    chunk = chunk_of(model.observation)
    sequence_loss(model, chunk, config, row_seeds(0, B))["total"].backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@each_design
@each_seen
def test_every_parameter_that_there_is_learns(design: dict[str, Any], seen: Shapes) -> None:
    """Without overshooting; free nats, as they are by default, spare no distance of means."""
    model = make(design, seen)
    config = TrainConfig(free_nats=0.0 if model.config.sampled else 1e6)
    found = gradients(model, config)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert [name for name, gradient in found.items() if not gradient.any()] == []


@pytest.mark.parametrize("design", [{}, RNN], ids=["RSSM", "RNN"])
def test_without_a_weight_the_prior_learns_nothing_and_a_warning_says_so(
    design: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The official code's "purely deterministic" design has the weight 0."""
    found = gradients(make(design), TrainConfig(divergence_weight=0.0))
    still = {name for name, gradient in found.items() if not gradient.any()}
    prior = ("prior_hidden", "prior_head")
    assert still == {f"latent_model.{p}.{kind}" for p in prior for kind in ("weight", "bias")}

    def warnings(**train: Any) -> list[str]:
        caplog.clear()
        config = TINY.with_overrides(
            {"model": design, "train": {"divergence_weight": 0.0, **train}}
        )
        build(config, Spec(IMAGE, -np.ones(A, np.float32), np.ones(A, np.float32)))
        return [record.getMessage() for record in caplog.records]

    with caplog.at_level(logging.WARNING, "planet"):
        (text,) = warnings()
        assert text.startswith("train.divergence_weight: expected a value > 0, got 0")
        assert warnings(divergence_weight=1e-3) == []
        overshot = {"overshooting_distance": 2, "overshooting_reward_weight": 1.0}
        assert warnings(**overshot) == []


# ---- States that are means ----


@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_noise_moves_no_state_that_is_its_mean(transition: str) -> None:
    model = make(RNN | {"transition": transition})
    action, noise = torch.rand(5, B, A) * 2 - 1, torch.randn(5, B, S)
    start = LatentState(torch.randn(B, model.config.belief), torch.randn(B, S))
    noisy, prior = imagine(model, start, action, noise)
    quiet, _ = imagine(model, start, action, torch.zeros_like(noise))
    assert torch.equal(noisy.belief, quiet.belief)
    assert torch.equal(noisy.state, quiet.state)
    assert not prior.stddev.any()


FORMS = [("reference", None, precision) for precision in ("fp32", "int8", "fp16", "bf16")]
FORMS += [("fused", name, precision) for name, precision in KERNELS]


@pytest.mark.parametrize(("ops", "name", "precision"), FORMS)
@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_snapshots_of_means_have_no_noise_in_any_arithmetic(
    transition: str, ops: str, name: str | None, precision: str
) -> None:
    """The row of zeros that stands for a stddev quantises to zeros, not to NaN."""
    weights = make(RNN | {"transition": transition}).rollout_weights()
    generator = torch.Generator().manual_seed(2)
    actions = torch.rand(3, B, 9, A, generator=generator) * 2 - 1
    noise = torch.randn(3, B, 9, S, generator=generator) * 100
    start = LatentState(torch.randn(B, weights.belief_size, generator=generator),
                        torch.randn(B, S, generator=generator))  # fmt: skip
    own: ModuleType = backend(ops)

    def returns(noise: Tensor | None) -> Tensor:
        got: Tensor = own.rollout_returns(weights, start, actions, noise, precision=precision)
        return got

    if name is None:
        noisy, quiet = returns(noise), returns(None)
    else:
        with isa(name):
            noisy, quiet = returns(noise), returns(None)
    assert noisy.isfinite().all()
    assert torch.equal(noisy, quiet)


@pytest.mark.parametrize("name", ["reference", pytest.param("fused", marks=needs_extension)])
def test_plans_of_means_are_equal_with_and_without_state_noise(name: Any) -> None:
    weights = make(RNN).rollout_weights()
    planner = CEMPlanner(horizon=3, candidates=12, topk=3, iterations=2)
    start = LatentState(torch.ones(B, weights.belief_size), torch.ones(B, S))

    def plan(state_noise: bool) -> Tensor:
        settings = ImaginationConfig(backend=name, state_noise=state_noise)
        imagination = make_imagination(settings, planner, weights, start)
        return planner.plan(imagination, 4).mean

    assert torch.equal(plan(True), plan(False))


# ---- Filters of agents ----


@each_design
@each_seen
def test_agents_filter_step_by_step_what_training_filters_at_once(
    design: dict[str, Any], seen: Shapes
) -> None:
    model, chunk = make(design, seen, scale=0.3), chunk_of(seen)
    weights = model.filter_weights()
    compiled = seen is IMAGE and design in ({}, RNN)
    assert isinstance(weights, FilterWeights if compiled else ModelFilter)
    latent = model.initial(B)
    seeds = [row_seeds(t, B) for t in range(T)]
    noise = torch.stack([normals(s, 1, S, stream=STREAM_POSTERIOR)[:, 0] for s in seeds])
    parts: list[dict[str, Tensor]] = []
    for t in range(T):  # an agent has seeds for every step, which dither its images
        now = {name: array[t] for name, array in chunk.observation.items()}
        parts.append(model.inputs({name: x[None] for name, x in now.items()}, seeds[t]))
    inputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    with torch.no_grad():
        whole = model.filter_chunk(model.embed(inputs), chunk.action, noise).latent
    for t in range(T):
        now = {name: array[t] for name, array in chunk.observation.items()}
        before, given = latent, (chunk.action[t], seeds[t])
        if isinstance(weights, ModelFilter):
            latent = weights.filter_step(before, given[0], now, given[1])
        else:
            latent = reference.filter_step(weights, before, given[0], now["image"], given[1])
            if BUILT:
                fused = backend("fused").filter_step
                own = fused(weights, before, given[0], now["image"], given[1])
                assert latent_error(own, latent) < FILTER_STEP
        torch.testing.assert_close(latent.belief, whole.belief[t])
        torch.testing.assert_close(latent.state, whole.state[t])


# ---- Compiled updates ----


@needs_extension
@each_design
@each_seen
def test_compiled_updates_give_the_plain_terms_and_gradients(
    design: dict[str, Any], seen: Shapes
) -> None:
    model, chunk = make(design, seen), chunk_of(seen)
    got = step(CompiledModel(model), model, chunk, EVERYTHING)
    assert far(got, step(model, model, chunk, EVERYTHING), STEP) == {}
