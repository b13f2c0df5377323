"""What settings refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from settings import changed, fields

from planet.checkpoint import save_checkpoint
from planet.config import (
    Config,
    EnvironmentConfig,
    ImaginationConfig,
    ModelConfig,
    PlannerConfig,
    TrainConfig,
)

NOT_POSITIVE: list[object] = [0, -1]
NEGATIVE: list[object] = [-1]
REFUSED: dict[str, list[object]] = {
    "environment.task": ["", 3],
    "environment.action_repeat": [*NOT_POSITIVE, 1.5],
    "environment.image_size": [*NOT_POSITIVE, 64.0, True],
    "environment.render_size": [*NOT_POSITIVE, "64"],
    "environment.camera": [*NEGATIVE, 0.5],
    "environment.quality": ["best", None],
    "environment.control_steps": [*NOT_POSITIVE, 1.5],
    "model.state_size": [*NOT_POSITIVE, 3.0],
    "model.belief_size": [*NOT_POSITIVE, 3.0],
    "model.hidden_size": [*NOT_POSITIVE, 3.0],
    "model.activation": ["tanh", None],
    "model.min_stddev": [0.0, -0.1, float("nan"), float("inf"), "0.1"],
    "model.gru_gate_bias": [float("nan"), float("inf"), None],
    "model.initializer": ["orthogonal"],
    "model.bit_depth": [0, 9, 5.0],
    "model.encoder_channels": [(), (0,), (4.0,), [32], 32, (True,)],
    "model.encoder_kernel": NOT_POSITIVE,
    "model.encoder_stride": NOT_POSITIVE,
    "model.decoder": ["linear"],
    "model.decoder_input": [*NOT_POSITIVE, 1024.0],
    "model.decoder_channels": [(), (0,)],
    "model.decoder_kernels": [(), (5, 5), (5, 5, 6, 0)],
    "model.decoder_stride": NOT_POSITIVE,
    "model.decoder_hidden": [(), (-1,)],
    "model.reward_layers": [-1, 4, 1.0],
    "model.reward_hidden": NOT_POSITIVE,
    "planner.name": ["", 3],
    "planner.horizon": [*NOT_POSITIVE, 12.0],
    "planner.candidates": [*NOT_POSITIVE, 10.5],
    "planner.iterations": NOT_POSITIVE,
    "planner.topk": [*NOT_POSITIVE, 1001],
    "planner.initial_stddev": [0.0, -1.0, float("nan")],
    "planner.spread": ["range"],
    "planner.epsilon": [-1e-6, float("nan")],
    "planner.low": [1.5, float("nan"), float("-inf"), "0"],
    "planner.high": [float("nan"), float("inf"), None],
    "imagination.state_noise": [1, None, "yes"],
    "imagination.discount": [0.0, -1.0, float("inf")],
    "imagination.backend": ["cuda"],
    "imagination.precision": ["int4", 8, None],
    "imagination.variant": ["fast", "", None],
    "planner.budget_ms": [0.0, -1.0, float("nan"), float("inf"), "20", True],
    "train.seed": [-1, 1 << 63, 10**400, 0.0, True],
    "train.episodes": [*NOT_POSITIVE, 4],
    "train.seed_episodes": NOT_POSITIVE,
    "train.initial_updates": [*NEGATIVE, 0.5],
    "train.updates_per_episode": NEGATIVE,
    "train.batch_size": NOT_POSITIVE,
    "train.chunk_length": [*NOT_POSITIVE, 1],
    "train.sampling": ["prioritized"],
    "train.recent_draws": NOT_POSITIVE,
    "train.recent_share": [-0.1, 1.5, float("nan")],
    "train.learning_rate": [0.0, -1e-3, float("nan")],
    "train.learning_rate_warmup": [*NEGATIVE, 0.5],
    "train.adam_epsilon": [0.0, float("nan")],
    "train.gradient_clip_norm": [0.0, float("nan")],
    "train.image_weight": [*NEGATIVE, float("nan")],
    "train.reward_weight": [*NEGATIVE, float("nan")],
    "train.divergence_weight": [*NEGATIVE, float("nan")],
    "train.free_nats": [*NEGATIVE, float("nan")],
    "train.global_prior_weight": NEGATIVE,
    "train.overshooting_distance": [*NEGATIVE, 2.0],
    "train.overshooting_weight": NEGATIVE,
    "train.overshooting_reward_weight": NEGATIVE,
    "train.exploration_stddev": [-0.3, float("nan")],
    "train.exploration_ramp": [*NEGATIVE, 2.0],
    "train.exploration_min_stddev": NEGATIVE,
    "train.evaluation_interval": [*NEGATIVE, 2.0],
    "train.evaluation_episodes": NOT_POSITIVE,
    "train.checkpoint_interval": NOT_POSITIVE,
    "train.checkpoint_updates": [*NOT_POSITIVE, 1.5],
    "train.device": ["", 0, None],
    "train.threads": [*NEGATIVE, 2.0],
}


def test_every_field_is_validated() -> None:
    assert {f"{section}.{name}" for section, name in fields()} == set(REFUSED)


@pytest.mark.parametrize("field", REFUSED)
def test_bad_values_are_refused_and_named(field: str) -> None:
    _, name = field.split(".")
    related = {"planner.high": "low|high"}.get(field, name)
    for value in REFUSED[field]:
        with pytest.raises((ValueError, TypeError), match=rf"^({related}): expected .*[gn]o?t ?"):
            changed(Config(), field, value)


def test_a_variant_is_that_of_the_fused_backend() -> None:
    with pytest.raises(
        ValueError, match="variant: expected 'portable' with backend='reference', got 'persistent'"
    ):
        ImaginationConfig(variant="persistent", backend="reference")


def test_render_size_is_a_multiple_of_image_size() -> None:
    with pytest.raises(
        ValueError, match="render_size: expected a multiple of image_size=48, got 64"
    ):
        EnvironmentConfig(image_size=48, render_size=64)


def test_mean_absolute_spread_needs_two_elites() -> None:
    with pytest.raises(ValueError, match="topk: expected K >= 2"):
        PlannerConfig(spread="mean_absolute", topk=1)


def test_seed_may_be_any_63_bit_integer() -> None:
    assert TrainConfig(seed=2**63 - 1).seed == 2**63 - 1


def test_numpys_numbers_and_texts_are_taken(tmp_path: Path) -> None:
    """As sweeps have them; a checkpoint keeps Python's own alone."""
    environment = EnvironmentConfig(task=np.str_("toy-reach"), action_repeat=np.int8(2))
    model = ModelConfig(encoder_channels=tuple(np.array([4, 8])), min_stddev=np.float32(0.5))
    planner = PlannerConfig(budget_ms=np.float32(2.5))
    imagination = ImaginationConfig(state_noise=np.bool_(False), backend=np.str_("reference"))
    train = TrainConfig(seed=np.int64(2**62 + 1), learning_rate=np.float64(1e-3))
    config = Config(environment, model, planner, imagination, train)
    assert train.seed == 2**62 + 1 and model.encoder_channels == (4, 8)
    save_checkpoint(tmp_path / "c.pt", config.to_dict())
    config.save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json") == config
    with pytest.raises(TypeError, match="seed: expected int, got float 1.0"):
        TrainConfig(seed=np.float32(1))


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().train.seed = 1  # type: ignore[misc]
