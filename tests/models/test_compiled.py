"""The compiled model against `WorldModel`: every method, and whole gradient steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from learners import learner_of
from ops.fused_support import ISAS, isa, needs_extension, threads
from ops.tolerances import BF16_STEP, STEP, tensor_error
from small_models import make_chunk, make_model
from torch import Tensor

from planet.config import Config, TrainConfig
from planet.config.presets import PRESETS
from planet.latent import Gaussian, LatentState
from planet.models import WorldModel
from planet.models.compiled import CompiledModel
from planet.noise import row_seeds
from planet.protocols import Chunk, Filtered
from planet.systems.planet import make_world_model
from planet.training.loss import SequenceModel, sequence_loss

pytestmark = needs_extension

EVERYTHING = TrainConfig(
    image_weight=0.7, reward_weight=11.0, divergence_weight=1.3, free_nats=0.0,
    global_prior_weight=0.2, overshooting_distance=3, overshooting_weight=0.9,
    overshooting_reward_weight=5.0, overshooting_observation_weight=0.4,
)  # fmt: skip
CONV = {
    "decoder": "conv", "decoder_input": 9, "decoder_channels": (5,), "decoder_kernels": (3, 4),
}  # fmt: skip
DESIGNS: list[dict[str, Any]] = [
    *({"reward_layers": layers, "activation": "elu"} for layers in range(4)),
    {"activation": "relu", "decoder_hidden": (9, 13)},
    {"activation": "elu", **CONV},
    {"activation": "relu", **CONV, "reward_layers": 3},
    {"activation": "elu", "encoder_channels": (3,), "encoder_kernel": 5},
    {"activation": "elu", "reward_layers": 2, "continuation": True},
]
each_design = pytest.mark.parametrize("design", DESIGNS, ids=str)
each_isa = pytest.mark.parametrize("name", ISAS)


def step(
    trained: SequenceModel, model: WorldModel, chunk: Chunk, train: TrainConfig
) -> dict[str, Tensor]:
    """Terms of the loss, and gradients of the parameters."""
    model.zero_grad(set_to_none=True)
    terms = sequence_loss(trained, chunk, train, row_seeds(0, chunk.reward.shape[1]))
    terms["total"].backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(model.parameters()))
    return {name: term.detach() for name, term in terms.items()} | gradients


def far(got: dict[str, Tensor], expected: dict[str, Tensor], bound: float) -> dict[str, float]:
    """Lists errors beyond the bound."""
    assert got.keys() == expected.keys()
    errors = {name: tensor_error(got[name], expected[name]) for name in expected}
    return {name: value for name, value in errors.items() if not value < bound}


def tiny(preset: str) -> Config:
    """A preset with small sizes, all else its own."""
    config = PRESETS[preset]("toy-reach")
    sizes: dict[str, Any] = {"state_size": 3, "belief_size": 5, "hidden_size": 7}
    sizes |= {"encoder_channels": (2, 3, 4, 5)[: len(config.model.encoder_channels)]}
    sizes |= {"decoder_input": 6, "decoder_channels": (5, 4, 3), "reward_hidden": 8}
    train = replace(config.train, batch_size=3, chunk_length=4)
    return replace(config, model=replace(config.model, **sizes), train=train)


def chunk_of(config: Config) -> Chunk:
    generator = torch.Generator().manual_seed(5)
    shape, side = (
        (config.train.chunk_length, config.train.batch_size),
        config.environment.image_size,
    )
    image = torch.randint(0, 256, (*shape, side, side, 3), generator=generator, dtype=torch.uint8)
    action = torch.rand(*shape, 2, generator=generator) * 2 - 1
    ended = torch.zeros(shape, dtype=torch.bool)
    return Chunk({"image": image}, action, torch.rand(*shape, generator=generator), ended)


def parts(model: SequenceModel | WorldModel, chunk: Chunk) -> dict[str, Tensor]:
    """Results of every method."""
    torch.manual_seed(4)
    inputs = model.inputs(chunk.observation, row_seeds(3, 3))
    embedding = model.embed(inputs)
    filtered: Filtered = model.filter_chunk(embedding, chunk.action, torch.randn(4, 3, 3))
    latent = filtered.latent
    first = LatentState(latent.belief[0], latent.state[0])
    belief, prior = model.transition(first, chunk.action[1])
    gaussians: dict[str, Gaussian] = {
        "prior": filtered.prior, "posterior": filtered.posterior, "transition": prior,
    }  # fmt: skip
    _, going_on = model.outcome(latent)
    logits = {} if going_on is None else {"going on": going_on}
    found = {f"{n}.{f}": getattr(g, f) for n, g in gaussians.items() for f in ("mean", "stddev")}
    return found | {
        "inputs": inputs["image"], "embedding": embedding, "belief": latent.belief,
        "state": latent.state,
        **model.errors(latent, inputs), "reward": model.reward(latent),
        "reward of one": model.reward(first), "next belief": belief, **logits,
    }  # fmt: skip


@each_design
def test_every_method_gives_the_plain_models_numbers(design: dict[str, Any]) -> None:
    model = make_model(**design)
    with torch.no_grad():
        assert (
            far(parts(CompiledModel(model), make_chunk()), parts(model, make_chunk()), STEP) == {}
        )
    assert CompiledModel(model).config is model.config


@each_isa
@each_design
def test_a_step_gives_the_plain_steps_terms_and_gradients(
    design: dict[str, Any], name: str
) -> None:
    model, chunk = make_model(**design), make_chunk()
    with isa(name):
        got = step(CompiledModel(model), model, chunk, EVERYTHING)
    assert far(got, step(model, model, chunk, EVERYTHING), STEP) == {}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_with_small_sizes_give_the_plain_steps(preset: str) -> None:
    config = tiny(preset)
    model, chunk = make_world_model(config, 2), chunk_of(config)
    got = step(CompiledModel(model), model, chunk, config.train)
    assert far(got, step(model, model, chunk, config.train), STEP) == {}


def test_the_small_preset_gives_the_plain_step() -> None:
    config = PRESETS["small"]("toy-reach")
    config = replace(config, train=replace(config.train, batch_size=5, chunk_length=8))
    model, chunk = make_world_model(config, 2), chunk_of(config)
    got = step(CompiledModel(model), model, chunk, config.train)
    assert far(got, step(model, model, chunk, config.train), STEP) == {}


def test_steps_have_the_same_bits_on_any_number_of_threads() -> None:
    config = tiny("small")
    chunk = chunk_of(config)

    def trained(count: int) -> list[Tensor]:
        model = make_world_model(config, 2)
        learner = learner_of(model, config.train, CompiledModel(model))
        with threads(count):
            for _ in range(3):
                learner._learn(chunk)
        return [p.detach().clone() for p in model.parameters()]

    alone = trained(1)
    for count in (1, 2, 3):
        assert all(map(torch.equal, trained(count), alone))


def test_the_parameters_are_the_models_own_after_they_changed() -> None:
    model, other = make_model(), make_model(scale=0.3)
    trained, chunk = CompiledModel(model), make_chunk()
    with torch.no_grad():
        parts(trained, chunk)
        model.load_state_dict(other.state_dict())
        assert far(parts(trained, chunk), parts(other, chunk), STEP) == {}


# ---- precision="bf16" ----

needs_bf16 = pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(), reason="the processor does not multiply bfloat16"
)


@needs_bf16
@pytest.mark.parametrize("design", [{}, CONV], ids=["mlp", "conv"])
def test_bf16_rounds_the_decoders_products_and_no_others(design: dict[str, Any]) -> None:
    model, chunk = make_model(**design), make_chunk()
    exact = step(model, model, chunk, EVERYTHING)
    got = step(CompiledModel(model, "bf16"), model, chunk, EVERYTHING)
    rounded = far(got, exact, STEP)
    assert {"image", "overshooting_observation", "total"} <= rounded.keys()
    assert any(name.startswith("decoder") for name in rounded)
    assert not rounded.keys() & {"reward", "kl", "divergence", "overshooting", "global_prior"}
    assert far(got, exact, BF16_STEP) == {}


@needs_bf16
def test_bf16_leaves_no_setting_behind_not_even_after_an_error() -> None:
    def settings() -> tuple[Any, ...]:
        onednn: Any = torch.backends.mkldnn
        kinds = onednn.matmul.fp32_precision, onednn.conv.fp32_precision
        return *kinds, torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    model, chunk = make_model(), make_chunk()
    before = settings()
    step(CompiledModel(model, "bf16"), model, chunk, EVERYTHING)
    assert settings() == before
    latent = LatentState(torch.zeros(2, 5), torch.zeros(2, 3))
    with pytest.raises(RuntimeError):
        CompiledModel(model, "bf16").errors(latent, {"image": torch.zeros(2, 3, 7, 8)})
    assert settings() == before
