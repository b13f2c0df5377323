"""Overshooting against a double loop over starts and distances in float64 numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from ops.fused_support import needs_extension
from small_models import make_chunk, make_model
from torch import Tensor

from planet.config import TrainConfig
from planet.latent import Gaussian, LatentState, kl_divergence
from planet.models.compiled import CompiledModel
from planet.noise import STREAM_STATE, row_seeds
from planet.ops import draws
from planet.protocols import Chunk, Filtered
from planet.training.loss import sequence_loss
from planet.training.overshooting import overshooting

T, B, D, S, A, V = 5, 2, 2, 3, 1, 4
SEEDS = row_seeds(3, B)
FREE = 3.5  # some divergences are below
WEIGHTS = {"overshooting": 0.9, "overshooting_reward": 0.7, "overshooting_observation": 0.3}
Array = npt.NDArray[np.float64]
Numbers = dict[str, Array]


def numbers() -> Numbers:
    """Latents and posteriors of a chunk, and parameters of a small nonlinear model."""
    random = np.random.default_rng(0)
    shapes = {
        "belief": (T, B, D), "state": (T, B, S), "mean": (T, B, S), "stddev": (T, B, S),
        "recurrence": (D + S + A, D), "prior": (D, S), "spread": (D, S), "reward": (D + S,),
        "decoder": (D + S, V),
    }  # fmt: skip
    found = {name: random.normal(size=shape) for name, shape in shapes.items()}
    return found | {"stddev": np.exp(0.3 * found["stddev"])}


RANDOM = np.random.default_rng(1)
ACTION, REWARD = RANDOM.normal(size=(T, B, A)), RANDOM.normal(size=(T, B))
OBSERVATION = RANDOM.normal(size=(T, B, V))


class Model:
    """A `Dynamics` and a decoder in float64 torch."""

    def __init__(self, given: Numbers) -> None:
        self.of = {name: torch.tensor(array, requires_grad=True) for name, array in given.items()}
        self.steps = 0

    def transition(self, latent: LatentState, action: Tensor) -> tuple[Tensor, Gaussian]:
        self.steps += 1
        belief = torch.tanh(torch.cat([latent.features, action], -1) @ self.of["recurrence"])
        return belief, Gaussian(belief @ self.of["prior"], torch.exp(belief @ self.of["spread"]))

    def reward(self, latent: LatentState) -> Tensor:
        return latent.features @ self.of["reward"]

    def error(self, latent: LatentState, first: int) -> Tensor:
        decoded = latent.features @ self.of["decoder"]
        return 0.5 * (decoded - torch.from_numpy(OBSERVATION[first:])).square().sum()

    def overshoot(self, distance: int, **changes: Any) -> dict[str, Tensor]:
        latent = LatentState(self.of["belief"], self.of["state"])
        posterior = Gaussian(self.of["mean"], self.of["stddev"])
        reward = torch.from_numpy(REWARD)
        chunk = Chunk({}, torch.from_numpy(ACTION), reward, torch.zeros_like(reward).bool())
        settings = {"divergence": penalty, "error": self.error} | changes
        return overshooting(
            self, Filtered(latent, posterior, posterior), chunk, distance, SEEDS, **settings
        )


def penalty(truth: Gaussian, prior: Gaussian) -> Tensor:
    return kl_divergence(truth, prior).clamp(min=FREE)


def numpy_penalty(m1: Array, s1: Array, m2: Array, s2: Array) -> float:
    return max(FREE, np.sum(np.log(s2 / s1) + (s1**2 + (m1 - m2) ** 2) / (2 * s2**2) - 0.5))


def numpy_distance(m1: Array, s1: Array, m2: Array, s2: Array) -> float:
    return float(np.sum((m1 - m2) ** 2) / 2)


def numpy_log_probability(m1: Array, s1: Array, m2: Array, s2: Array) -> float:
    return float(np.sum(((m1 - m2) / s2) ** 2 / 2 + np.log(s2) + np.log(2 * np.pi) / 2))


def log_probability(truth: Gaussian, prior: Gaussian) -> Tensor:
    return -torch.distributions.Normal(prior.mean, prior.stddev).log_prob(truth.mean).sum(-1)


def distance_of_means(truth: Gaussian, prior: Gaussian) -> Tensor:
    return 0.5 * (truth.mean - prior.mean).square().sum(-1)


DIVERGENCES: dict[str, tuple[Callable[..., Tensor], Callable[..., float]]] = {
    "KL with free nats": (penalty, numpy_penalty),
    "of deterministic states": (distance_of_means, numpy_distance),
    "of an encoder": (log_probability, numpy_log_probability),
}


def double_loop(
    given: Numbers, distance: int, divergence: Callable[..., float] = numpy_penalty
) -> dict[str, float]:
    """Every pair (start, start + d) by itself, rolled from the start anew; pairs end in T - 1."""
    normals = [
        draws.normals(SEEDS, T, S, stream=STREAM_STATE, time=d).double().numpy() for d in range(T)
    ]
    found: dict[str, list[float]] = {name: [] for name in WEIGHTS}
    for d in range(1, min(distance, T - 1) + 1):
        pairs: dict[str, list[float]] = {name: [] for name in WEIGHTS}
        for start, end, b in [(t, t + d, b) for t in range(T) for b in range(B) if t + d < T]:
            belief, state = given["belief"][start, b], given["state"][start, b]
            for step in range(1, d + 1):
                inputs = np.concatenate([belief, state, ACTION[start + step, b]])
                belief = np.tanh(inputs @ given["recurrence"])
                mean, stddev = belief @ given["prior"], np.exp(belief @ given["spread"])
                state = mean + stddev * normals[step][b, start]
            features = np.concatenate([belief, state])
            missed = features @ given["decoder"] - OBSERVATION[end, b]
            pairs["overshooting_observation"].append(float(np.sum(missed**2) / 2))
            if d > 1:
                nats = divergence(given["mean"][end, b], given["stddev"][end, b], mean, stddev)
                pairs["overshooting"].append(nats)
                wrong = features @ given["reward"] - REWARD[end, b]
                pairs["overshooting_reward"].append(float(wrong**2 / 2))
        for name, values in pairs.items():
            found[name] += [float(np.mean(values))] if values else []
    return {name: float(np.mean(means)) if means else 0.0 for name, means in found.items()}


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("distance", [0, 1, 2, 3, 4, 9])
def test_terms_are_those_of_a_double_loop(distance: int, kind: str) -> None:
    ours, oracle = DIVERGENCES[kind]
    got = Model(numbers()).overshoot(distance, divergence=ours)
    expected = double_loop(numbers(), distance, oracle)
    assert {name: term.item() for name, term in got.items()} == pytest.approx(expected, rel=1e-12)
    assert [*expected.values()].count(0.0) == {0: 3, 1: 2}.get(distance, 0)


@pytest.mark.parametrize("distance", [1, 3, 4])
def test_gradients_are_those_of_a_double_loop_and_stop_at_posteriors(distance: int) -> None:
    """Central differences; the loop's posteriors at the ends of pairs are constants."""
    model, given, step = Model(numbers()), numbers(), 1e-5

    def total() -> float:
        return sum(WEIGHTS[name] * term for name, term in double_loop(given, distance).items())

    terms = model.overshoot(distance)
    sum(WEIGHTS[name] * term for name, term in terms.items()).backward()  # type: ignore[union-attr]
    for name in given.keys() - {"mean", "stddev"}:
        gradient = np.zeros_like(given[name])
        for index in np.ndindex(*gradient.shape):
            for sign in (1, -1):
                given[name][index] += sign * step
                gradient[index] += sign * total() / (2 * step)
                given[name][index] -= sign * step
        got = model.of[name].grad
        got = np.zeros_like(gradient) if got is None else got.numpy()
        np.testing.assert_allclose(got, gradient, rtol=1e-5, atol=1e-6, err_msg=name)
    assert model.of["mean"].grad is None
    assert model.of["stddev"].grad is None


def test_without_a_decoder_distance_1_makes_no_step() -> None:
    for distance, steps in ((0, 0), (1, 0), (2, 2), (9, T - 1)):
        model = Model(numbers())
        terms = model.overshoot(distance, error=None)
        assert terms.keys() == {"overshooting", "overshooting_reward"}
        assert model.steps == steps


def test_one_distance_is_decoded_at_a_time_forward_and_backward() -> None:
    """The decoder's numbers are not kept, but made again, and used before the next ones are."""
    model, events, kept = Model(numbers()), [], []

    def error(latent: LatentState, first: int) -> Tensor:
        events.append(("decodes", first))
        features = latent.features * 1.0
        features.register_hook(lambda gradient: events.append(("has used", first)))
        wide = torch.tanh(features @ torch.ones(D + S, 1000, dtype=torch.float64))
        return wide.square().sum()

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape[-1])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        term = model.overshoot(T, error=error)["overshooting_observation"]
    assert len(kept) > 0
    assert max(kept) < 1000
    assert events == [("decodes", d) for d in range(1, T)]
    events.clear()
    term.backward()  # type: ignore[no-untyped-call]
    backward = [(what, d) for d in range(T - 1, 0, -1) for what in ("decodes", "has used")]
    assert events == backward


needs_bf16 = pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(), reason="the processor does not multiply bfloat16"
)
CONV = {
    "decoder": "conv", "decoder_input": 9, "decoder_channels": (5,), "decoder_kernels": (3, 4),
}  # fmt: skip


@pytest.mark.parametrize("design", [{}, CONV], ids=["mlp", "conv"])
@pytest.mark.parametrize(
    "precision",
    [None, pytest.param("fp32", marks=needs_extension),
     pytest.param("bf16", marks=[needs_extension, needs_bf16])],
)  # fmt: skip
def test_decoding_again_changes_no_bit(
    design: dict[str, Any], precision: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients are those of a decoder whose activations are kept; nothing draws from torch."""
    config = TrainConfig(overshooting_distance=3, overshooting_observation_weight=0.4)

    def gradients(config: TrainConfig) -> list[Tensor]:
        model = make_model(**design)
        trained = CompiledModel(model, precision) if precision else model
        state = torch.random.get_rng_state()
        terms = sequence_loss(trained, make_chunk(), config, row_seeds(0, 3))
        terms["total"].backward()  # type: ignore[no-untyped-call]
        assert torch.equal(state, torch.random.get_rng_state())
        return [p.grad for p in model.parameters() if p.grad is not None]

    again = gradients(config)
    assert not all(map(torch.equal, again, gradients(replace(config, overshooting_distance=2))))
    monkeypatch.setattr("planet.training.overshooting.recomputed", lambda function: function())
    assert all(map(torch.equal, again, gradients(config)))
