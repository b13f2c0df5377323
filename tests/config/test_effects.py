"""For every setting a visible effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from settings import changed, fields

from planet.config import Config
from planet.models import WorldModel
from planet.protocols import image_spec
from planet.systems.planet import make_world_model

pytest.importorskip("gymnasium")

from config.probes import (
    CONV,
    TINY,
    arithmetic,
    batches,
    convolutions,
    device,
    episode,
    exploration,
    model_loss,
    optimizer_step,
    parameters,
    plan,
    planner_name,
    renderer,
    run,
    saves,
    scorer,
    shapes,
    threads,
    updates,
    vector_loss,
    vector_shapes,
)

See = Callable[[Config, Path], object]
OVERSHOOT = changed(
    changed(TINY, "train.overshooting_distance", 3), "train.overshooting_weight", 1.0
)
WALKER = changed(TINY, "environment.task", "walker-walk")
ENDINGS = changed(TINY, "model.continuation", True)
RAMP = changed(TINY, "train.exploration_ramp", 2)
RECENT = changed(TINY, "train.sampling", "recent")
EVALUATE = changed(TINY, "train.evaluation_interval", 1)
# field -> (how its effect is seen, another value[, the config it is changed in])
EFFECTS: dict[str, tuple[Any, ...]] = {
    "environment.task": (renderer, "cheetah-run", WALKER),
    "environment.action_repeat": (episode, 2),
    "environment.image_size": (
        episode, 16, TINY  # with render_size
    ),
    "environment.render_size": (renderer, 16, WALKER),
    "environment.camera": (renderer, 1, WALKER),
    "environment.quality": (renderer, "fast", WALKER),
    "environment.control_steps": (episode, 6),
    "environment.observe": (episode, "vectors"),
    "environment.frames": (episode, 2),
    "model.transition": (shapes, "ssm"),
    "model.stochastic": (shapes, False),
    "model.posterior": (shapes, "encoder"),
    "model.state_size": (shapes, 4),
    "model.belief_size": (shapes, 6),
    "model.hidden_size": (shapes, 8),
    "model.activation": (model_loss, "elu"),
    "model.min_stddev": (model_loss, 0.3),
    "model.gru_gate_bias": (parameters, 0.5),
    "model.initializer": (parameters, "torch"),
    "model.bit_depth": (model_loss, 3),
    "model.encoder_channels": (shapes, (5,)),
    "model.encoder_kernel": (shapes, 2),
    "model.encoder_stride": (shapes, 1),
    "model.decoder": (shapes, "mlp", CONV),
    "model.decoder_input": (shapes, 24, CONV),
    "model.decoder_channels": (shapes, (5,), CONV),
    "model.decoder_kernels": (shapes, (3, 4), CONV),
    "model.decoder_stride": (
        shapes, 1, changed(CONV, "model.decoder_kernels", (3, 4))  # 3 -> 8 with 2, 3 -> 6 with 1
    ),
    "model.decoder_hidden": (shapes, (7, 7)),
    "model.vector_hidden": (vector_shapes, (7, 7)),
    "model.reward_layers": (shapes, 2),
    "model.reward_hidden": (shapes, 9),
    "model.continuation": (shapes, True),
    "planner.name": (planner_name, "icem"),
    "planner.horizon": (plan, 3),
    "planner.candidates": (plan, 13),
    "planner.iterations": (plan, 3),
    "planner.topk": (plan, 4),
    "planner.initial_stddev": (plan, 0.5),
    "planner.spread": (plan, "mean_absolute"),
    "planner.epsilon": (plan, 1e-2),
    "planner.low": (plan, -0.5),
    "planner.high": (plan, 0.5),
    "planner.scorer": (scorer, "simulator"),
    "planner.execute": (run, 2),
    "imagination.state_noise": (plan, False),
    "imagination.discount": (plan, 9.0),
    "imagination.backend": (arithmetic, "fused"),
    "imagination.precision": (arithmetic, "int8"),
    "planner.budget_ms": (plan, 1e-6),
    "imagination.variant": (
        arithmetic, "persistent", changed(TINY, "imagination.backend", "fused")
    ),
    "train.seed": (run, 1),
    "train.backend": (updates, "fused"),
    "train.precision": (updates, "bf16", changed(TINY, "train.backend", "fused")),
    "train.deterministic": (convolutions, False, changed(TINY, "train.device", "cuda")),
    "train.episodes": (run, 4),
    "train.seed_episodes": (run, 1),
    "train.collect": (run, "random"),
    "train.initial_updates": (run, 2),
    "train.updates_per_episode": (run, 2),
    "train.batch_size": (run, 2),
    "train.chunk_length": (run, 3),
    "train.sampling": (batches, "recent", changed(TINY, "train.recent_draws", 32)),
    "train.recent_draws": (batches, 32, RECENT),
    "train.recent_share": (batches, 0.9, changed(RECENT, "train.recent_draws", 32)),
    "train.learning_rate": (optimizer_step, 1e-2),
    "train.learning_rate_warmup": (optimizer_step, 2),
    "train.adam_epsilon": (optimizer_step, 1e-1),
    "train.gradient_clip_norm": (optimizer_step, 1e-3),
    "train.image_weight": (model_loss, 2.0),
    "train.vector_weight": (vector_loss, 2.0),
    "train.reward_weight": (model_loss, 2.0),
    "train.continuation_weight": (model_loss, 2.0, ENDINGS),
    "train.divergence_weight": (model_loss, 2.0),
    "train.free_nats": (model_loss, 1e6),
    "train.global_prior_weight": (model_loss, 1.0),
    "train.overshooting_distance": (model_loss, 2, OVERSHOOT),
    "train.overshooting_weight": (model_loss, 2.0, OVERSHOOT),
    "train.overshooting_reward_weight": (model_loss, 2.0, OVERSHOOT),
    "train.overshooting_observation_weight": (model_loss, 2.0, OVERSHOOT),
    "train.exploration_stddev": (run, 0.6),
    "train.exploration_ramp": (exploration, 3, RAMP),
    "train.exploration_min_stddev": (exploration, 0.1, RAMP),
    "train.evaluation_interval": (run, 1),
    "train.evaluation_episodes": (run, 2, EVALUATE),
    "train.checkpoint_interval": (saves, 2, changed(TINY, "train.episodes", 5)),
    "train.checkpoint_updates": (saves, 1, changed(TINY, "train.initial_updates", 3)),
    "train.device": (device, "meta"),
    "train.threads": (threads, 2),
}  # fmt: skip


def test_every_field_has_an_effect_that_a_test_sees() -> None:
    assert {f"{section}.{name}" for section, name in fields()} == set(EFFECTS)


@pytest.mark.parametrize("field", EFFECTS)
def test_field_has_its_effect(field: str, tmp_path: Path) -> None:
    see, value, *base = EFFECTS[field]
    before = base[0] if base else TINY
    if field == "environment.image_size":
        sizes = replace(TINY.environment, image_size=value, render_size=value)
        after = replace(TINY, environment=sizes)
    elif field == "planner.name":  # which decides on the fields beside it
        after = before.with_overrides({"planner": {"name": value}})
    elif field == "model.decoder_stride":
        after = changed(before, field, value)
        assert (
            WorldModel(before.model, 2, image_spec(8))
            .decoders["image"](torch.zeros(1, 8))
            .shape[-1]
            == 8
        )
        with pytest.raises(ValueError, match="decoder_kernels.*give 6 pixels"):
            make_world_model(after, 2)
        return
    else:
        after = changed(before, field, value)
    assert before != after
    first = see(before, tmp_path / "before")
    assert first == see(before, tmp_path / "again"), "the observation must be reproducible"
    assert first != see(after, tmp_path / "after")
