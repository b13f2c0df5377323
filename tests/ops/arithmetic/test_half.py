"""Returns with products in half precision: how near float64 they are, and what is rounded where.

The specification, on the CPU. The CUDA kernels are compared with it in tests/ops/cuda.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from ops.oracle import Oracle, exact_plan, exact_returns, rounded
from ops.tolerances import (
    HALF_ELITES,
    HALF_L2,
    HALF_MEDIAN,
    HALF_RMS,
    common_elites,
    half_errors,
    relative_l2,
    returns_error,
)
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Problem, Sizes, make_problem
from torch import Tensor

from planet.noise import Noise, row_seeds
from planet.ops import fused, reference
from planet.ops.arithmetic.half import HalfModel

PRECISIONS = pytest.mark.parametrize("precision", ["fp16", "bf16"])
ACTIVATIONS = pytest.mark.parametrize("activation", ["relu", "elu"])
PAPER = PRESET_SIZES["paper"]
SMALL_MODELS = {
    "one reward layer": replace(TINY, reward=()),
    "two reward layers": replace(TINY, reward=(9,)),
    "three reward layers": TINY,
    "four reward layers": replace(TINY, reward=(9, 4, 17)),
    "ssm": TINY_SSM,
    "ssm, one reward layer": replace(TINY_SSM, reward=()),
    "odd sizes": Sizes(33, 7, 3, 20, (31,)),
}


def returns(problem: Problem, actions: Tensor, noise: object, precision: str) -> Tensor:
    return problem.returns(reference, actions, noise, precision=precision)


# --- Near float64 ---------------------------------------------------------------------------------


@PRECISIONS
@pytest.mark.parametrize("gain", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("size", "activation"), [("paper", "relu"), ("small", "elu")])
def test_returns_and_elites_are_near_those_of_float64(
    size: str, activation: str, gain: float, precision: str,
    report_error: Callable[[str, float, float], None],
) -> None:  # fmt: skip
    problem = make_problem(PRESET_SIZES[size], 1, seed=21, scale=gain, activation=activation)
    actions, noise = problem.actions(12, 1000), problem.noise(12, 1000)
    exact = exact_returns(problem.weights, problem.latent, actions, noise)
    got = returns(problem, actions, noise, precision)
    report_error("relative L2", relative_l2(got, exact), HALF_L2[precision][gain])
    assert common_elites(got, exact) >= HALF_ELITES[precision][gain]
    assert relative_l2(got, exact) > 1e-5  # it is not float32


@PRECISIONS
@pytest.mark.parametrize("gain", [1.0, 2.0])
@ACTIVATIONS
def test_full_size_agrees_with_a_second_writing(
    gain: float, activation: str, precision: str
) -> None:
    problem = make_problem(PAPER, 1, seed=5, scale=gain, activation=activation)
    actions, noise = problem.actions(12, 200), problem.noise(12, 200)
    expected = exact_returns(
        problem.weights, problem.latent, actions, noise, precision=precision, discount=0.9
    )
    got = problem.returns(reference, actions, noise, precision=precision, discount=0.9)
    median, rms = half_errors(got, expected)
    assert rms <= HALF_RMS[precision]
    assert median <= HALF_MEDIAN or precision == "fp16"


@PRECISIONS
@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
@pytest.mark.parametrize("name", SMALL_MODELS)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_small_models_agree_with_a_second_writing_to_float32_s_error(
    name: str, scale: float, activation: str, stddev: str, precision: str
) -> None:
    problem = make_problem(
        SMALL_MODELS[name], 2, seed=3, scale=scale, activation=activation, stddev=stddev
    )
    actions, noise = problem.actions(3, 101), problem.noise(3, 101)
    expected = exact_returns(problem.weights, problem.latent, actions, noise, precision=precision)
    got = returns(problem, actions, noise, precision)
    assert half_errors(got, expected)[0] <= HALF_MEDIAN
    exact = exact_returns(problem.weights, problem.latent, actions, noise)
    linear = len(problem.weights.reward_weights) == 1
    assert half_errors(got, exact)[0] > (1e-7 if linear else 1e-6)


@PRECISIONS
@pytest.mark.parametrize("place", ["input", "gru", "prior hidden", "prior", "reward"])
def test_a_rounding_left_out_would_be_seen(
    place: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test of the tests above: each product in turn reads activations as they are.
    problem = make_problem(SMALL_MODELS["odd sizes"], 2, seed=3, scale=2.0)
    actions, noise = problem.actions(3, 101), problem.noise(3, 101)
    original, calls = Oracle.operand, []
    index = ["input", "gru", "gru h", "prior hidden", "prior", "reward"].index(place)

    def operand(self: Oracle, x: object) -> object:
        calls.append(x)
        return x if (len(calls) - 1) % 6 == index else original(self, x)

    monkeypatch.setattr(Oracle, "operand", operand)
    wrong = exact_returns(problem.weights, problem.latent, actions, noise, precision=precision)
    got = returns(problem, actions, noise, precision)
    assert half_errors(got, wrong)[0] > 2 * HALF_MEDIAN


# --- Scaling of the weights -----------------------------------------------------------------------


@PRECISIONS
def test_the_largest_scaled_weight_lies_between_256_and_512(precision: str) -> None:
    model = HalfModel(make_problem(TINY, 1).weights, precision)
    for largest in (1.0, 0.999, 2.0**-20, 1.5 * 2.0**40, 511.9, 256.0, 3e38, 1e-44):
        matrix = torch.linspace(-1, 0.5, 35).reshape(7, 5) * largest
        scaled, scale = model._layer(matrix)
        assert (scaled * scale).equal(scaled.double().mul(scale.double()).float())  # a power of two
        if largest < 2.0**-91:
            assert scale == 2.0**-100
            continue
        assert 256 <= scaled.abs().max() <= 512, largest  # 512 when the rounding carries
        error = (scaled.double() * scale.double() - matrix.double()).abs().max()
        assert error <= largest * torch.finfo(model._format).eps / 2, largest


@PRECISIONS
def test_a_layer_of_zeros_is_served(precision: str) -> None:
    problem = make_problem(TINY, 1)
    weights = replace(problem.weights, prior_weight=torch.zeros_like(problem.weights.prior_weight))
    actions = problem.actions(3, 7)
    got = reference.rollout_returns(weights, problem.latent, actions, None, precision=precision)
    expected = exact_returns(weights, problem.latent, actions, None, precision=precision)
    assert returns_error(got, expected) < 1e-3


@PRECISIONS
@pytest.mark.parametrize("power", [-30, -7, 3, 30])
def test_a_power_of_two_taken_from_a_relu_layer_to_the_next_changes_nothing(
    power: int, precision: str
) -> None:
    # fp16 has subnormal numbers and a largest one: there, activations and the GRU's matrices, which
    # share a scale, move by less.
    factor = 2.0 ** (power // 6 if precision == "fp16" and abs(power) > 5 else power)
    problem = make_problem(PRESET_SIZES["small"], 2)
    w, actions = problem.weights, problem.actions(4, 30)
    changed = replace(
        w,
        input_weight=w.input_weight * factor,
        input_bias=w.input_bias * factor,
        gru_weight_ih=w.gru_weight_ih / factor,
    )
    got, expected = (
        returns(replace(problem, weights=x), actions, None, precision) for x in (changed, w)
    )
    bound = 2e-6 if precision == "bf16" else HALF_L2[precision][1.0]
    assert returns_error(got, expected) <= bound


def test_the_gru_s_matrices_share_one_scale() -> None:
    problem = make_problem(TINY, 1)
    weights = replace(problem.weights, gru_weight_hh=problem.weights.gru_weight_hh * 64)
    weight_ih, weight_hh, _ = HalfModel(weights, "fp16")._gru
    assert 256 <= weight_hh.abs().max() <= 512
    assert weight_ih.abs().max() < 256


# --- What the format does not hold ----------------------------------------------------------------


PLACES = pytest.mark.parametrize("place", ["actions", "noise", "state", "belief"])
OTHERS = torch.arange(40).reshape(2, 20) != 3  # than candidate 3 of problem 0


def a_call(place: str = "noise", value: float = 0.0) -> tuple[Problem, Tensor, Tensor]:
    """Makes problem, actions and noise; candidate 3 of problem 0 has the value at the place."""
    problem = make_problem(TINY, 2, candidates=20)
    actions, noise = problem.actions(3, 20), problem.noise(3, 20)
    latent = problem.latent
    {"actions": actions[0], "noise": noise[1], "state": latent.state, "belief": latent.belief}[
        place
    ][0, 3, 1] = value
    return problem, actions, noise


@PLACES
def test_candidates_beyond_fp16_are_computed_in_float32(place: str) -> None:
    got, exact = (returns(*a_call(place, 3e5), precision) for precision in ("fp16", "fp32"))
    assert got[0, 3] == exact[0, 3]
    assert got[OTHERS].equal(returns(*a_call(), "fp16")[OTHERS])
    assert not got[OTHERS].equal(exact[OTHERS])


@PLACES
@pytest.mark.parametrize("bad", [3.395e38, -3.395e38, math.nan, math.inf, -math.inf], ids=str)
def test_candidates_beyond_bf16_return_nan(bad: float, place: str) -> None:
    got = returns(*a_call(place, bad), "bf16")
    assert got[0, 3].isnan()
    assert got[OTHERS].equal(returns(*a_call(), "bf16")[OTHERS])


@PLACES
@pytest.mark.parametrize("far", [3e5, -1e30])
def test_bf16_is_float32_s_range(far: float, place: str) -> None:
    problem, actions, noise = a_call(place, far)
    got = returns(problem, actions, noise, "bf16")
    expected = exact_returns(problem.weights, problem.latent, actions, noise, precision="bf16")
    assert torch.allclose(got[0, 3].double(), expected[0, 3], rtol=1e-5)
    assert got[0, 3] != returns(problem, actions, noise, "fp32")[0, 3]


@PRECISIONS
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
def test_what_is_not_finite_spoils_only_its_own_candidate(bad: float, precision: str) -> None:
    got = returns(*a_call("noise", bad), precision)
    assert not got[0, 3].isfinite()
    assert got[OTHERS].equal(returns(*a_call(), precision)[OTHERS])


def test_weights_beyond_fp16_are_served() -> None:
    problem = make_problem(TINY, 1)
    w, factor = problem.weights, 2.0**30  # the input layer's outputs are beyond fp16
    weights = replace(
        w, input_weight=w.input_weight * factor, input_bias=w.input_bias * factor,
        gru_weight_ih=w.gru_weight_ih / factor,
    )  # fmt: skip
    actions = problem.actions(3, 20)
    got = reference.rollout_returns(weights, problem.latent, actions, None, precision="fp16")
    assert returns_error(got, returns(problem, actions, None, "fp32")) <= 2e-6


# --- The oracle and the ops -----------------------------------------------------------------------


def test_the_oracle_rounds_as_torch_does() -> None:
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0)).double()
    x = torch.cat([x, x * 1e-6, x * 1e3, torch.tensor([0.0, 1 + 2**-11, 1 + 3 * 2**-11, 2049.0])])
    for precision, kind in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        assert rounded(x, precision).tolist() == x.float().to(kind).double().tolist() or (
            # float32 in between may round twice
            (rounded(x, precision) != x.float().to(kind)).sum() < 5
        )


def test_fused_refuses_fp16_on_the_cpu_by_name() -> None:
    if fused._C is None:
        pytest.skip("the compiled core is not built")
    problem = make_problem(TINY, 1)
    with pytest.raises(ValueError) as error:
        problem.returns(fused, problem.actions(1, 2), None, precision="fp16")
    assert str(error.value) == (
        "precision: 'fp16' has no kernels on cpu; use 'fp32', 'int8' or 'bf16', "
        "or use backend='reference'"
    )


@PRECISIONS
def test_a_plan_is_as_good_as_float64_s(precision: str) -> None:
    # Judged by the float64 model without noise. (100 models of the paper's size: README, Fidelity.)
    sizes, seeds = PRESET_SIZES["small"], row_seeds(4, 2)
    problem = make_problem(sizes, 2, seed=8)
    settings = {"seed": seeds, "candidates": 300, "topk": 30, "iterations": 5}
    plan = problem.plan(reference, 8, **settings, precision=precision)
    best = exact_plan(problem.weights, problem.latent, seeds, 8, 300, 30, 5)
    values = [
        exact_returns(problem.weights, problem.latent, actions[:, :, None].double(), None)
        for actions in (plan.mean, best)
    ]
    assert plan_regret(*values) <= (0.01 if precision == "fp16" else 0.05)


def plan_regret(value: Tensor, best: Tensor) -> float:
    """Computes a plan's loss against the best one, over its return's magnitude."""
    return ((best - value) / best.abs()).max().item()


@PRECISIONS
def test_returns_are_float32(precision: str) -> None:
    problem = make_problem(TINY, 2)
    usual = problem.returns(reference, problem.actions(3, 8), Noise(1), precision=precision)
    assert usual.dtype == torch.float32
