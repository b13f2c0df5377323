"""Settings: what they refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from settings import changed, fields

from planet.config import (
    CEMConfig,
    Config,
    EnvironmentConfig,
    ImaginationConfig,
    ModelConfig,
    TrainConfig,
)
from planet.storage.checkpoint import save_checkpoint

NAN, INFINITY = float("nan"), float("inf")
WRONG: dict[Any, tuple[object, ...]] = {
    int: (1.5, 2.0, "1", True, 1 << 63, -(10**400)),
    float: ("1", None, True, NAN, INFINITY, -INFINITY, 1 << 63),
    bool: (1, None, "yes"),
    str: ("", 3, None),
    tuple: ((), (0,), (4.0,), ("4",), (True,), (1 << 63,), [32], 32),
    Literal: ("", "other", None, 1, []),
}
"""Values that no setting of a type takes."""

# Numbers out of the range of every setting of a number.
OUT_OF_RANGE: dict[str, tuple[float, ...]] = {
    "environment: action_repeat image_size render_size control_steps frames": (0, -1),
    "environment: camera": (-1,),
    "model: state_size belief_size hidden_size encoder_kernel encoder_stride": (0, -1),
    "model: decoder_input decoder_stride reward_hidden min_stddev": (0, -1),
    "model: bit_depth": (0, 9),
    "model: reward_layers": (-1, 4),
    "model: gru_gate_bias": (),
    "planner: horizon candidates iterations initial_stddev budget_ms": (0, -1),
    "planner: topk": (0, -1, 1001),
    "planner: execute": (0, -1, 13),
    "planner: epsilon": (-1e-6,),
    "planner: low": (1.5,),
    "planner: high": (-1.5,),
    "imagination: discount": (0, -1.0),
    "train: episodes": (0, -1, 4),
    "train: seed_episodes batch_size recent_draws learning_rate adam_epsilon": (0, -1),
    "train: gradient_clip_norm evaluation_episodes checkpoint_interval": (0, -1),
    "train: checkpoint_updates": (0, -1),
    "train: chunk_length": (0, -1, 1),
    "train: initial_updates updates_per_episode learning_rate_warmup image_weight": (-1,),
    "train: reward_weight divergence_weight free_nats global_prior_weight": (-1,),
    "train: overshooting_distance overshooting_weight overshooting_reward_weight": (-1,),
    "train: overshooting_observation_weight continuation_weight vector_weight": (-1,),
    "train: exploration_stddev exploration_ramp exploration_min_stddev": (-1,),
    "train: evaluation_interval threads seed": (-1,),
    "train: recent_share": (-0.1, 1.5),
}


def kinds() -> dict[str, tuple[Any, bool]]:
    """Type of every setting "section.name", and whether it may be None."""
    found = {}
    for section, name in fields():
        hint = get_type_hints(type(getattr(Config(), section)))[name]
        parts = get_args(hint) if NoneType in get_args(hint) else (hint,)
        found[f"{section}.{name}"] = get_origin(parts[0]) or parts[0], NoneType in parts
    return found


def out_of_range() -> dict[str, tuple[float, ...]]:
    return {
        f"{section}.{name}": values
        for names, values in OUT_OF_RANGE.items()
        for section, _, rest in [names.partition(": ")]
        for name in rest.split()
    }


def test_every_number_has_a_range() -> None:
    assert {name for name, (kind, _) in kinds().items() if kind in (int, float)} == set(
        out_of_range()
    )


@pytest.mark.parametrize("field", kinds())
def test_bad_values_are_refused_and_named(field: str) -> None:
    kind, optional = kinds()[field]
    wrong = [value for value in WRONG[kind] if not (optional and value is None)]
    name = {"planner.high": "low|high"}.get(field, field.split(".")[1])
    for value in (*wrong, *out_of_range().get(field, ())):
        with pytest.raises((ValueError, TypeError), match=rf"^({name}): expected .*[gn]o?t ?"):
            changed(Config(), field, value)


def test_there_is_one_decoder_kernel_more_than_channels() -> None:
    with pytest.raises(ValueError, match="decoder_kernels: expected 4 values, got 2"):
        ModelConfig(decoder_kernels=(5, 5))


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
        CEMConfig(spread="mean_absolute", topk=1)


@pytest.mark.parametrize(
    ("name", "distance", "length"),
    [("overshooting_weight", 1, 50), ("overshooting_reward_weight", 50, 2),
     ("overshooting_observation_weight", 0, 50)],
)  # fmt: skip
def test_a_weight_of_overshooting_needs_its_distances(
    name: str, distance: int, length: int
) -> None:
    with pytest.raises(
        ValueError,
        match=f"^{name}: expected 0 .*distance={distance} and chunk_length={length}.*, got 0.5$",
    ):
        TrainConfig(overshooting_distance=distance, chunk_length=length, **{name: 0.5})
    longer = {"overshooting_distance": distance + 1, "chunk_length": length + 1}
    TrainConfig(**longer, **{name: 0.5})


def test_seed_may_be_any_63_bit_integer() -> None:
    assert TrainConfig(seed=2**63 - 1).seed == 2**63 - 1


def test_numpys_numbers_and_texts_are_taken(tmp_path: Path) -> None:
    """As sweeps have them; a checkpoint keeps Python's own alone."""
    environment = EnvironmentConfig(task=np.str_("toy-reach"), action_repeat=np.int8(2))
    model = ModelConfig(encoder_channels=tuple(np.array([4, 8])), min_stddev=np.float32(0.5))
    planner = CEMConfig(budget_ms=np.float32(2.5))
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
