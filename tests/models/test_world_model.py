"""Initialisation, the planner's snapshot, and images."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small_models import make_model
from torch import Tensor

from planet.config import ModelConfig
from planet.latent import LatentState
from planet.models import WorldModel
from planet.noise import STREAM_STATE, Noise, normals, row_seeds
from planet.ops import reference
from planet.ops.dynamics import imagine
from planet.planning import CEMPlanner, Imagination
from planet.protocols import image_spec

H, B, J, S, D, A = 5, 2, 4, 3, 5, 2


# ---- Initialisation ----------------------------------------------------------------------------


def test_glorot_initialisation_fills_its_interval() -> None:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=64, belief_size=64, encoder_channels=(16, 32, 64, 64))
    model = WorldModel(config, 6, image_spec(64))
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        receptive = math.prod(parameter.shape[2:])
        fan = (parameter.shape[0] + parameter.shape[1]) * receptive
        bound = math.sqrt(6.0 / fan)
        assert parameter.abs().max() <= bound, name
        if parameter.numel() > 500:
            assert parameter.abs().max() > 0.95 * bound, name
            assert abs(parameter.std() / (bound / math.sqrt(3)) - 1) < 0.1, name


@pytest.mark.parametrize("bias", [1.0, 0.0, -0.5])
@pytest.mark.parametrize("initializer", ["glorot", "torch"])
def test_gates_start_at_their_bias(initializer: str, bias: float) -> None:
    config = ModelConfig(initializer=initializer, gru_gate_bias=bias)  # type: ignore[arg-type]
    gru = WorldModel(config, 6, image_spec(64)).latent_model.gru
    assert (gru.bias_ih[:400] == bias).all()  # reset and update
    assert not gru.bias_hh[:400].any()


def test_glorot_leaves_all_other_biases_at_zero() -> None:
    model = WorldModel(ModelConfig(), 6, image_spec(64))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and name != "latent_model.gru.bias_ih":
            assert not parameter.any(), name
    assert not model.latent_model.gru.bias_ih[400:].any()


def test_torch_initialisation_is_the_modules_own() -> None:
    config = ModelConfig(initializer="torch")
    torch.manual_seed(3)
    model = WorldModel(config, 6, image_spec(64))
    torch.manual_seed(3)
    first = torch.nn.Conv2d(3, 32, 4, 2)
    assert torch.equal(model.encoders["image"].layers[0].weight, first.weight)  # type: ignore[arg-type]
    assert torch.equal(model.encoders["image"].layers[0].bias, first.bias)  # type: ignore[arg-type]


# ---- Images ------------------------------------------------------------------------------------


def test_embed_and_decode_keep_leading_dimensions() -> None:
    model = make_model()
    image = torch.randn(4, 3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    embedding = model.embed({"image": image})
    assert embedding.shape == (4, 3, model.encoders["image"].embedding_size)
    torch.testing.assert_close(embedding[2, 1], model.encoders["image"](image[2, 1][None])[0])
    generator = torch.Generator().manual_seed(2)
    latent = LatentState(
        torch.randn(4, 3, D, generator=generator), torch.randn(4, 3, S, generator=generator)
    )
    decoded = model.decode(latent)["image"]
    assert decoded.shape == (4, 3, 3, 8, 8)
    torch.testing.assert_close(
        decoded[1, 2], model.decoders["image"](latent.features[1, 2][None])[0]
    )
    assert model.reward(latent).shape == (4, 3)


def test_images_use_the_bit_depth_of_the_settings() -> None:
    observation = torch.full((1, 1, 8, 8, 3), 255, dtype=torch.uint8)
    image = make_model(bit_depth=2).inputs({"image": observation}, row_seeds(0, 1))["image"]
    assert image.min() > 0.25  # level 3 of 0 to 3, lower edge, minus a half
    assert image.max() < 0.5
    assert image.std() > 0.05


def test_features_are_belief_then_state() -> None:
    model = make_model(reward_layers=0)
    with torch.no_grad():
        model.reward_model.layers[0].weight.copy_(torch.tensor([[1.0] * D + [0.0] * S]))  # type: ignore[union-attr,operator]
        model.reward_model.layers[0].bias.zero_()  # type: ignore[union-attr,operator]
    latent = LatentState(torch.full((1, D), 2.0), torch.full((1, S), 100.0))
    assert model.reward(latent).item() == 2.0 * D


# ---- The planner's snapshot --------------------------------------------------------------------


def test_rollout_weights_name_the_right_parameters() -> None:
    model = make_model(reward_layers=2)
    weights, rssm = model.rollout_weights(), model.latent_model
    pairs = {
        "input_weight": rssm.input.weight,
        "input_bias": rssm.input.bias,
        "gru_weight_ih": rssm.gru.weight_ih,
        "gru_weight_hh": rssm.gru.weight_hh,
        "gru_bias_ih": rssm.gru.bias_ih,
        "gru_bias_hh": rssm.gru.bias_hh,
        "prior_hidden_weight": rssm.prior_hidden.weight,
        "prior_hidden_bias": rssm.prior_hidden.bias,
        "prior_weight": rssm.prior_head.weight,
        "prior_bias": rssm.prior_head.bias,
    }
    for name, parameter in pairs.items():
        assert torch.equal(getattr(weights, name), parameter), name
    assert len(weights.reward_weights) == len(weights.reward_biases) == 3
    assert (weights.state_size, weights.belief_size, weights.action_size) == (S, D, A)


def test_snapshot_does_not_follow_the_model() -> None:
    model = make_model()
    weights = model.rollout_weights()
    planner = CEMPlanner(horizon=3, candidates=8, iterations=2, topk=2)
    latent = LatentState(torch.ones(1, D), torch.ones(1, S))
    imagination = Imagination(weights, latent, backend="reference")
    before = planner.plan(imagination, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    after = planner.plan(imagination, seed=1)
    assert torch.equal(before.mean, after.mean)
    now = Imagination(model.rollout_weights(), latent, backend="reference")
    renewed = planner.plan(now, seed=1)
    assert not torch.equal(before.best_return, renewed.best_return)
    assert not weights.input_weight.requires_grad


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_rollout_with_the_snapshot_equals_imagination(activation: str) -> None:
    """Same equations on both paths: the planner's returns are sums of the model's own rewards."""
    model = make_model(activation=activation, scale=0.4)
    generator = torch.Generator().manual_seed(4)
    actions = torch.rand(H, B, J, A, generator=generator) * 2 - 1
    noise = torch.randn(H, B, J, S, generator=generator)
    start = LatentState(
        torch.randn(B, D, generator=generator), torch.randn(B, S, generator=generator)
    )
    returns = reference.rollout_returns(model.rollout_weights(), start, actions, noise)
    for j in range(J):
        latents, _ = imagine(model, start, actions[:, :, j], noise[:, :, j])
        expected = model.reward(latents).sum(dim=0)
        torch.testing.assert_close(returns[:, j], expected, rtol=1e-5, atol=1e-5)


def test_rollout_counts_rewards_by_what_the_model_says_of_going_on() -> None:
    model = make_model(continuation=True, reward_layers=2)
    generator = torch.Generator().manual_seed(6)
    actions = torch.rand(H, B, J, A, generator=generator) * 2 - 1
    noise = torch.randn(H, B, J, S, generator=generator)
    weights = model.rollout_weights()
    assert weights.continuation and not make_model().rollout_weights().continuation
    returns = reference.rollout_returns(weights, model.initial(B), actions, noise)
    for j in range(J):
        latents, _ = imagine(model, model.initial(B), actions[:, :, j], noise[:, :, j])
        reward, logit = model.outcome(latents)
        assert logit is not None
        going = torch.cumprod(1 / (1 + torch.exp(-logit)), dim=0)
        expected = reward[0] + (reward[1:] * going[:-1]).sum(dim=0)
        torch.testing.assert_close(returns[:, j], expected, rtol=1e-5, atol=1e-5)


def test_rollout_with_counter_noise_equals_imagination_with_the_same_normals() -> None:
    model = make_model(scale=0.4)
    generator = torch.Generator().manual_seed(5)
    actions = torch.rand(H, B, J, A, generator=generator) * 2 - 1
    start = LatentState(torch.zeros(B, D), torch.zeros(B, S))
    seeds = row_seeds(9, B)
    draws = [normals(seeds, J, S, stream=STREAM_STATE, time=t, iteration=2) for t in range(H)]
    noise = torch.stack(draws)
    returns = reference.rollout_returns(model.rollout_weights(), start, actions, Noise(9, 2))
    latents, _ = imagine(model, start, actions[:, :, 1], noise[:, :, 1])
    torch.testing.assert_close(
        returns[:, 1], model.reward(latents).sum(dim=0), rtol=1e-5, atol=1e-5
    )


def test_model_sizes_beyond_the_planners_are_refused() -> None:
    config = replace(ModelConfig(), hidden_size=513)
    with pytest.raises(ValueError, match="M <= 512, got 513"):
        WorldModel(config, 2, image_spec(64)).rollout_weights()


def test_a_world_model_is_traced_without_a_graph_break() -> None:
    model = make_model()
    latent = LatentState(torch.ones(B, D), torch.ones(B, S))
    embedding = torch.ones(H, B, model.encoders["image"].embedding_size)
    action, noise = torch.ones(H, B, A), torch.ones(H, B, S)

    def steps() -> tuple[Tensor, Tensor, Tensor]:
        belief, prior = model.transition(latent, action[0])
        whole = model.filter_chunk(embedding, action, noise).latent
        reward = model.reward(LatentState(belief, prior.mean))
        return reward, whole.belief, whole.state

    compiled = torch.compile(steps, fullgraph=True, backend="eager")
    for got, expected in zip(compiled(), steps(), strict=True):
        torch.testing.assert_close(got, expected)
