"""Presets against the published numbers (Hafner et al., ICML 2019; google-research/planet)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from planet.config import Config
from planet.config.presets import PRESETS
from planet.latent import LatentState
from planet.models import WorldModel
from planet.protocols import image_spec
from planet.training import schedule

ACTIONS = 6  # cheetah

# What the official configuration and the paper agree on.
PUBLISHED = {
    "environment": {
        "action_repeat": None,  # the task's own
        "image_size": 64, "render_size": 64, "camera": 0, "control_steps": None,
    },
    "model": {
        "state_size": 30, "belief_size": 200, "hidden_size": 200, "activation": "relu",
        "min_stddev": 0.1, "gru_gate_bias": 1.0, "initializer": "glorot", "bit_depth": 5,
        "encoder_channels": (32, 64, 128, 256), "encoder_kernel": 4, "encoder_stride": 2,
        "decoder": "conv", "decoder_input": 1024, "decoder_channels": (128, 64, 32),
        "decoder_kernels": (5, 5, 6, 6), "decoder_stride": 2,
    },
    "planner": {
        "horizon": 12, "candidates": 1000, "iterations": 10, "topk": 100, "initial_stddev": 1.0,
        "spread": "population", "epsilon": 1e-6, "low": -1.0, "high": 1.0, "budget_ms": None,
    },
    "imagination": {"precision": None, "state_noise": True, "discount": 1.0},
    "train": {
        "seed_episodes": 5, "updates_per_episode": 100, "batch_size": 50, "chunk_length": 50,
        "recent_draws": 1000, "recent_share": 0.5, "learning_rate": 1e-3,
        "learning_rate_warmup": 0, "adam_epsilon": 1e-4, "gradient_clip_norm": 1000.0,
        "image_weight": 1.0, "reward_weight": 10.0, "divergence_weight": 1.0, "free_nats": 3.0,
        "global_prior_weight": 0.0, "overshooting_distance": 0, "overshooting_weight": 0.0,
        "overshooting_reward_weight": 0.0, "overshooting_observation_weight": 0.0,
        "exploration_stddev": 0.3, "exploration_ramp": 0, "exploration_min_stddev": 0.0,
    },
}  # fmt: skip
# Where they differ: reward head, length, loader, evaluation.
OWN = {
    "paper": {
        "model": {"reward_layers": 2, "reward_hidden": 200},
        "train": {"episodes": 1000, "sampling": "uniform"},
    },
    "official": {
        "model": {"reward_layers": 3, "reward_hidden": 300},
        "train": {
            "episodes": 10_000, "sampling": "recent", "evaluation_interval": 10,
            "evaluation_episodes": 1, "checkpoint_interval": 100,
        },
    },
}  # fmt: skip


def model_of(config: Config) -> WorldModel:
    return WorldModel(config.model, ACTIONS, image_spec(config.environment.image_size))


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", OWN)
def test_preset_has_the_published_numbers(name: str) -> None:
    plain = PRESETS[name]("cheetah-run")
    for source in (PUBLISHED, OWN[name]):
        for section, expected in source.items():
            got = {field: getattr(getattr(plain, section), field) for field in expected}
            assert got == expected


def test_paper_is_the_default() -> None:
    assert PRESETS["paper"]("cheetah-run") == Config()


@pytest.mark.parametrize("name", PRESETS)
def test_preset_takes_the_task(name: str) -> None:
    assert PRESETS[name]("walker-walk").environment.task == "walker-walk"


# Counted by hand from the layer sizes, A = 6. Encoder: 32, 64, 128, 256 channels, 4x4. RSSM: input
# 36x200, GRU 3x200x(200+200+2), prior 200x200 + 200x60, posterior 1224x200 + 200x60. Decoder:
# 230x1024, then 1024->128 (5), 128->64 (5), 64->32 (6), 32->3 (6). Rewards: 230->200->200->1.
ENCODER = 3 * 32 * 16 + 32 * 64 * 16 + 64 * 128 * 16 + 128 * 256 * 16 + 32 + 64 + 128 + 256
TRANSITION = 36 * 200 + 200 + 3 * 200 * 402 + 200 * 200 + 200 + 200 * 60 + 60
POSTERIOR = 1224 * 200 + 200 + 200 * 60 + 60
DECODER = 230 * 1024 + 1024 + (1024 * 128 + 128 * 64) * 25 + (64 * 32 + 32 * 3) * 36 + 227
REWARD = 230 * 200 + 200 + 200 * 200 + 200 + 201
OFFICIAL_REWARD = 230 * 300 + 300 + 2 * (300 * 300 + 300) + 301


@pytest.mark.parametrize(("name", "reward"), [("paper", REWARD), ("official", OFFICIAL_REWARD)])
def test_parameter_counts(name: str, reward: int) -> None:
    model = model_of(PRESETS[name]("cheetah-run"))
    assert count(model.encoders["image"]) == ENCODER
    assert count(model.latent_model) == TRANSITION + POSTERIOR
    assert count(model.decoders["image"]) == DECODER
    assert count(model.reward_model) == reward
    assert count(model) == ENCODER + TRANSITION + POSTERIOR + DECODER + reward


def test_paper_has_5_13_million_parameters() -> None:
    assert round(count(model_of(PRESETS["paper"]("cheetah-run"))) / 1e6, 2) == 5.13


@pytest.mark.parametrize(
    ("name", "embedding"), [("paper", 1024), ("official", 1024), ("small", 128)]
)
def test_encoder_and_decoder_fit_the_images(name: str, embedding: int) -> None:
    config = PRESETS[name]("cheetah-run")
    model, size = model_of(config), config.environment.image_size
    assert model.encoders["image"].embedding_size == embedding
    assert model.embed({"image": torch.zeros(2, 3, size, size)}).shape == (2, embedding)
    latent = LatentState(
        torch.zeros(2, config.model.belief_size), torch.zeros(2, config.model.state_size)
    )
    assert model.decode(latent)["image"].shape == (2, 3, size, size)
    assert size == (32 if name == "small" else 64)
    model.rollout_weights()  # every size is one that the planner takes


def test_paper_evaluates_and_saves_at_a_tenth_of_what_it_learns() -> None:
    train = PRESETS["paper"]("cheetah-run").train
    assert train.evaluation_episodes / train.evaluation_interval == 0.1  # of the planned steps
    assert (train.checkpoint_interval, train.checkpoint_updates) == (10, 1000)  # they coincide
    assert train.checkpoint_interval * train.updates_per_episode == train.checkpoint_updates


def test_rungs_of_the_ladder_differ_in_what_is_collected_and_executed_alone() -> None:
    rungs = {name: PRESETS[name]() for name in ("v0.5", "v1.0", "v1.5")}
    assert {rung.environment.task for rung in rungs.values()} == {"cartpole-swingup"}
    fit, open_loop, mpc = rungs.values()
    assert (fit.train.collect, fit.train.seed_episodes) == ("random", fit.train.episodes)
    assert open_loop.planner.execute == open_loop.planner.horizon > mpc.planner.execute == 1
    assert {rung.train.episodes for rung in rungs.values()} == {mpc.train.episodes}
    updates = {schedule.updates_due(r.train, r.train.episodes) for r in rungs.values()}
    assert len(updates) == 1
    assert replace(open_loop, planner=mpc.planner) == mpc
    names = "collect", "seed_episodes", "initial_updates"
    rung = {name: getattr(open_loop.train, name) for name in names}
    assert replace(fit, train=replace(fit.train, **rung)) == open_loop
    assert mpc.train.collect == "online" and mpc.model == PRESETS["small"]().model


def test_small_is_the_cheap_recipe() -> None:
    config = PRESETS["small"]("cheetah-run")
    assert (config.environment.render_size, config.environment.quality) == (64, "fast")
    assert config.model.decoder == "mlp"
    assert (config.train.free_nats, config.train.reward_weight) == (1.0, 100.0)
    assert config.train.seed_episodes == 30
    assert (config.train.checkpoint_interval, config.train.evaluation_interval) == (1, 3)
    assert config.train.episodes >= config.train.seed_episodes + 5
