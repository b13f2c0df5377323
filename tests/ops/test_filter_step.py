"""The compiled filter step against PyTorch's modules, in float64 and as training runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from ops.fused_support import ISAS, isa, needs_extension, threads
from ops.tolerances import FILTER_STEP, latent_error
from random_filters import FilterProblem, inputs_for, make_filter_problem
from random_weights import PAPER, Sizes
from small_models import make_model
from torch import Tensor, nn

from planet import noise
from planet.config.presets import PRESETS
from planet.latent import LatentState
from planet.models import WorldModel
from planet.noise import STREAM_POSTERIOR, row_seeds
from planet.ops import fused, reference
from planet.ops.pixels import preprocess
from planet.protocols import image_spec
from planet.weights.shapes import EncoderSizes

each_isa = pytest.mark.parametrize("name", ISAS)

# Around lanes, panels and tiles; one pixel and one colour of it; kernels as large as their input,
# strides that leave pixels out; no layers at all.
CASES = [
    (Sizes(1, 1, 1, 1, ()), EncoderSizes(1, 1, (), (), ())),
    (Sizes(5, 3, 2, 7, ()), EncoderSizes(7, 8, (), (), ())),
    (Sizes(17, 33, 1, 65, ()), EncoderSizes(1, 5, (1, 17), (1, 1), (1, 3))),
    (Sizes(9, 2, 3, 16, ()), EncoderSizes(7, 3, (1,), (7,), (1,))),
    (Sizes(64, 16, 4, 48, ()), EncoderSizes(7, 5, (3, 65), (3, 2), (1, 2))),
    (Sizes(31, 15, 2, 33, ()), EncoderSizes(8, 4, (17, 3, 1), (2, 3, 5), (1, 1, 1))),
    (Sizes(100, 20, 6, 100, ()), EncoderSizes(32, 5, (8, 16, 32), (4, 4, 4), (2, 2, 2))),
    (Sizes(3, 1, 1, 2, ()), EncoderSizes(32, 2, (65, 17), (5, 1), (3, 3))),
    (Sizes(7, 5, 512, 512, ()), EncoderSizes(9, 5, (6, 5, 4, 3), (1, 2, 3, 4), (1, 1, 1, 1))),
    (Sizes(512, 512, 1, 3, ()), EncoderSizes(5, 6, (2,), (3,), (1000,))),
    (Sizes(2, 2, 2, 2, ()), EncoderSizes(17, 5, (1,) * 16, (2,) * 16, (1,) * 16)),
]  # fmt: skip
each_case = pytest.mark.parametrize(("sizes", "encoder"), CASES, ids=str)
FORMS = [("relu", "add"), ("elu", "clamp")]
each_form = pytest.mark.parametrize(("activation", "stddev"), FORMS)


def exact(problem: FilterProblem) -> LatentState:
    """The step by PyTorch's modules in float64."""
    weights, rollout = problem.weights, problem.weights.rollout
    activate: Callable[[Tensor], Tensor] = {"relu": F.relu, "elu": F.elu}[rollout.activation]
    batch, side = len(problem.seeds), weights.image_size
    u = noise.dither(problem.seeds, 1, side * side * 3).reshape(batch, side, side, 3)
    x = preprocess(problem.observation, weights.bit_depth, u).double()
    layers = zip(
        weights.encoder_weights, weights.encoder_biases, weights.encoder_strides, strict=True
    )
    for weight, bias, stride in layers:
        layer = nn.Conv2d(weight.shape[1], len(bias), weight.shape[2], stride)
        x = activate(filled(layer, weight, bias)(x))
    latent = torch.cat([problem.latent.state, problem.action], dim=1).double()
    first = filled(nn.Linear(*rollout.input_weight.shape[::-1]), rollout.input_weight,
                   rollout.input_bias)  # fmt: skip
    cell = filled(nn.GRUCell(rollout.hidden_size, rollout.belief_size), rollout.gru_weight_ih,
                  rollout.gru_weight_hh, rollout.gru_bias_ih, rollout.gru_bias_hh)  # fmt: skip
    belief = cell(activate(first(latent)), problem.latent.belief.double())
    hidden = torch.cat([belief, x.flatten(1)], dim=1)
    for name in ("posterior_hidden", "posterior"):
        weight, bias = getattr(weights, f"{name}_weight"), getattr(weights, f"{name}_bias")
        made = filled(nn.Linear(*weight.shape[::-1]), weight, bias)(hidden)
        hidden = activate(made)
    mean, raw = made.chunk(2, dim=1)
    stddev, least = F.softplus(raw), rollout.min_stddev
    stddev = stddev + least if rollout.stddev == "add" else stddev.clamp(min=least)
    drawn = noise.normals(problem.seeds, 1, rollout.state_size, stream=STREAM_POSTERIOR)[:, 0]
    return LatentState(belief, mean + stddev * drawn)


def filled(module: nn.Module, *parameters: Tensor) -> nn.Module:
    for parameter, value in zip(module.parameters(), parameters, strict=True):
        parameter.data = value.double()
    return module.requires_grad_(False)


def same(got: LatentState, expected: LatentState) -> bool:
    return got.belief.equal(expected.belief) and got.state.equal(expected.state)


@each_form
@each_case
def test_a_step_of_both_backends_agrees_with_float64(
    ops: ModuleType, sizes: Sizes, encoder: EncoderSizes, activation: str, stddev: str
) -> None:
    for batch in (1, 2, 7):
        problem = make_filter_problem(sizes, encoder, batch, activation=activation, stddev=stddev)
        expected = exact(problem)
        for name in ISAS if ops is fused else [None]:
            with isa(name) if name else threads(1):
                got = problem.step(ops)
            assert latent_error(got, expected) < FILTER_STEP


@each_isa
@each_form
def test_gains_of_two_are_held_as_well(name: str, activation: str, stddev: str) -> None:
    for sizes, encoder in CASES:
        how = {"activation": activation, "stddev": stddev}
        problem = make_filter_problem(sizes, encoder, 2, scale=2.0, **how)
        with isa(name):
            assert latent_error(problem.step(fused), exact(problem)) < FILTER_STEP


# ---- the modules that train, which an agent's snapshot is taken of ----


@torch.no_grad()
def modules_step(model: WorldModel, problem: FilterProblem) -> LatentState:
    """The step of the modules that hold the parameters."""
    rssm = model.latent_model
    activate: Callable[[Tensor], Tensor] = {"relu": F.relu, "elu": F.elu}[rssm.activation]
    seen = model.inputs({"image": problem.observation[None]}, problem.seeds)
    embedding = model.embed(seen)[0]
    x = activate(rssm.input(torch.cat([problem.latent.state, problem.action], dim=1)))
    belief = rssm.gru(x, problem.latent.belief)
    hidden = activate(rssm.posterior_hidden(torch.cat([belief, embedding], dim=1)))
    mean, raw = rssm.posterior_head(hidden).chunk(2, dim=1)
    return LatentState(belief, mean + (F.softplus(raw) + rssm.min_stddev) * drawn(problem))


def drawn(problem: FilterProblem) -> Tensor:
    size = problem.weights.rollout.state_size
    return noise.normals(problem.seeds, 1, size, stream=STREAM_POSTERIOR)[:, 0]


@needs_extension
@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_step_is_that_of_the_modules_for_presets(preset: str) -> None:
    torch.manual_seed(1)
    config = PRESETS[preset]()
    model = WorldModel(config.model, 6, image_spec(config.environment.image_size))
    for batch in (1, 3):
        problem = inputs_for(model.filter_weights(), batch)
        expected = modules_step(model, problem)
        assert latent_error(problem.step(reference), expected) < FILTER_STEP
        assert latent_error(exact(problem), expected) < FILTER_STEP
        for name in ISAS:
            with isa(name):
                assert latent_error(problem.step(fused), expected) < 2 * FILTER_STEP


def test_steps_after_each_other_are_a_filtered_chunk(ops: ModuleType) -> None:
    """`filter_chunk` computes embeddings for all times at once, from the zero latent."""
    for activation in ("relu", "elu"):
        model = make_model(activation=activation, image_size=16, encoder_channels=(4, 6, 5))
        weights, batch, steps = model.filter_weights(), 3, 6
        given = [inputs_for(weights, batch, seed) for seed in range(steps)]
        with torch.no_grad():
            embedding = torch.stack(
                [
                    model.embed(model.inputs({"image": g.observation[None]}, g.seeds))[0]
                    for g in given
                ]
            )
            chunk = model.filter_chunk(
                embedding, torch.stack([g.action for g in given]), torch.stack([*map(drawn, given)])
            )
        latent = model.initial(batch)
        for t, problem in enumerate(given):
            latent = problem.after(latent).step(ops)
            expected = LatentState(chunk.latent.belief[t], chunk.latent.state[t])
            assert latent_error(latent, expected) < 10 * FILTER_STEP


# ---- bit for bit ----

MANY = make_filter_problem(
    Sizes(17, 5, 3, 33, ()), EncoderSizes(11, 5, (5, 17), (3, 2), (1, 2)), 37
)


@needs_extension
@each_isa
def test_bits_do_not_depend_on_threads_or_the_run(name: str) -> None:
    paper = make_filter_problem(PAPER, EncoderSizes(64, 5, (32, 64, 128, 256), (4,) * 4, (2,) * 4))
    with isa(name):
        for problem in (MANY, MANY.rows(slice(0, 1)), paper):
            with threads(1):
                alone = problem.step(fused)
            for count in (1, 2, 3, 4, 7):
                with threads(count):
                    assert same(problem.step(fused), alone)


@needs_extension
@each_isa
@each_form
def test_a_row_does_not_depend_on_the_others(name: str, activation: str, stddev: str) -> None:
    for sizes, encoder in CASES:
        how = {"activation": activation, "stddev": stddev}
        problem = make_filter_problem(sizes, encoder, 23, **how)
        with isa(name):
            whole = problem.step(fused)
            for rows in ([0], [22], [3, 4, 5, 6, 7, 8, 9], [*range(22, -1, -1)], [5, 5, 1]):
                expected = LatentState(whole.belief[rows], whole.state[rows])
                assert same(problem.rows(rows).step(fused), expected)


@needs_extension
@each_isa
@each_form
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 3e38])
@pytest.mark.parametrize("where", ["belief", "state", "action"])
def test_what_is_not_finite_stays_in_its_row(
    name: str, activation: str, stddev: str, bad: float, where: str
) -> None:
    how = {"activation": activation, "stddev": stddev}
    clean = make_filter_problem(batch=9, **how)
    parts = {"belief": clean.latent.belief, "state": clean.latent.state, "action": clean.action}
    parts = {key: value.clone() for key, value in parts.items()}
    parts[where][4, 1] = bad
    problem = replace(
        clean, latent=LatentState(parts["belief"], parts["state"]), action=parts["action"]
    )
    with isa(name):
        got, expected = problem.step(fused), clean.step(fused)
    others = [row for row in range(9) if row != 4]
    assert got.belief[others].equal(expected.belief[others])
    assert got.state[others].equal(expected.state[others])
    if bad != bad:
        assert got.belief[4].isnan().all()
        assert got.state[4].isnan().all()
    elif where == "belief" and abs(bad) == torch.inf:  # of the others gates make finite numbers
        assert not got.belief[4].isfinite().all()


def test_strides_change_nothing(ops: ModuleType) -> None:
    problem = make_filter_problem(batch=5)

    def strided(x: Tensor) -> Tensor:
        order = range(x.dim())[::-1]
        twice = x.permute(*order).contiguous().permute(*order)
        return torch.stack([twice, twice], dim=-1)[..., 1]

    latent = LatentState(strided(problem.latent.belief), strided(problem.latent.state))
    other = FilterProblem(
        problem.weights, latent, strided(problem.action), strided(problem.observation),
        torch.stack([problem.seeds] * 3, dim=-1)[:, 0],
    )  # fmt: skip
    assert not other.observation.is_contiguous()
    assert same(other.step(ops), problem.step(ops))


@needs_extension
def test_instruction_sets_have_packs_of_their_own() -> None:
    problem = make_filter_problem(batch=3)
    expected = []
    for name in ISAS:
        with isa(name):
            expected.append(problem.after(problem.latent).step(fused))
    assert len(problem.weights._cache) == len(ISAS)
    for name, before in zip(ISAS[::-1], expected[::-1], strict=True):
        with isa(name):
            assert same(problem.step(fused), before)


# ---- around the call ----


def test_modes_of_pytorch_change_nothing(ops: ModuleType) -> None:
    problem = make_filter_problem(batch=2)
    expected = make_filter_problem(batch=2).step(ops)
    with torch.inference_mode():
        assert same(problem.step(ops), expected)  # packs in it
    assert same(problem.step(ops), expected)
    for device_type in ("cpu", "cuda"):
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=device_type == "cpu"):
            got = problem.step(ops)
            assert same(got, expected)
            assert got.state.dtype == torch.float32
    latent = LatentState(*(x.clone().requires_grad_() for x in vars(problem.latent).values()))
    got = problem.after(latent).step(ops)
    assert same(got, expected)
    assert not got.state.requires_grad


def test_inputs_are_left_alone_and_outputs_are_new(ops: ModuleType) -> None:
    problem, twin = make_filter_problem(batch=2), make_filter_problem(batch=2)
    got = problem.step(ops)
    before = got.belief.clone(), got.state.clone()
    assert same(problem.latent, twin.latent)
    assert problem.action.equal(twin.action)
    assert problem.observation.equal(twin.observation)
    assert problem.seeds.equal(twin.seeds)
    problem.after(got).step(ops)
    assert same(got, LatentState(*before))


def test_one_row_s_seed_may_be_a_scalar(ops: ModuleType) -> None:
    problem = make_filter_problem(batch=1)
    assert same(replace(problem, seeds=problem.seeds[0]).step(ops), problem.step(ops))
    assert same(replace(problem, seeds=row_seeds(3, 1)).step(ops),
                replace(problem, seeds=row_seeds(3, 2)[:1]).step(ops))  # fmt: skip


def test_later_changes_of_a_model_do_not_change_its_snapshot(ops: ModuleType) -> None:
    model = make_model()
    problem = inputs_for(model.filter_weights(), 2)
    expected = problem.step(ops)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert same(problem.step(ops), expected)
    assert not same(replace(problem, weights=model.filter_weights()).step(ops), expected)
