"""Compares fp16 and bf16 on the device with their specification, rounding by rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from ops.cuda.emulated import exact_functions
from ops.cuda.support import Device, rollout
from ops.oracle import exact_returns
from ops.tolerances import (
    HALF_ELITES,
    HALF_FUNCTIONS,
    HALF_L2,
    HALF_MEDIAN,
    common_elites,
    half_errors,
    relative_l2,
)
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Sizes, make_problem

from planet.ops import reference

PRECISIONS = pytest.mark.parametrize("precision", ["fp16", "bf16"])
MODELS = {
    "one reward layer": replace(TINY, reward=()),
    "three reward layers": TINY,
    "four reward layers": replace(TINY, reward=(9, 4, 17)),
    "ssm": TINY_SSM,
    "odd sizes": Sizes(33, 7, 3, 20, (31,)),
}


@PRECISIONS
@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
@pytest.mark.parametrize("name", MODELS)
def test_small_models_agree_with_the_specification(
    device: Device, name: str, activation: str, stddev: str, precision: str, seed: int
) -> None:
    problem = make_problem(
        MODELS[name], 2, seed=seed, scale=2.0, activation=activation, stddev=stddev
    )
    actions, noise = problem.actions(3, 33), problem.noise(3, 33)
    got = rollout(device, problem, actions, noise, precision=precision)
    oracle = exact_returns(problem.weights, problem.latent, actions, noise, precision=precision)
    assert half_errors(got, oracle)[0] <= HALF_FUNCTIONS[precision]
    if not device.emulated:
        return
    # Every rounding is where it belongs. This shows without the functions' errors alone.
    with exact_functions():
        got = rollout(device, problem, actions, noise, precision=precision)
    twin = reference.rollout_returns(
        problem.weights, problem.latent, actions, noise, precision=precision
    )
    assert half_errors(got, oracle)[0] <= HALF_MEDIAN
    assert half_errors(got, twin)[0] <= HALF_MEDIAN


@PRECISIONS
@pytest.mark.parametrize("gain", [1.0, 2.0, 3.0])
def test_the_paper_s_model_is_near_float64(
    device: Device, gain: float, precision: str, seed: int,
    report_error: Callable[[str, float, float], None],
) -> None:  # fmt: skip
    if device.emulated and gain != 1.0:
        pytest.skip("one is enough in the emulator")
    horizon, candidates = (2, 16) if device.emulated else (12, 1000)
    problem = make_problem(PRESET_SIZES["paper"], 1, seed=seed, scale=gain)
    actions, noise = problem.actions(horizon, candidates), problem.noise(horizon, candidates)
    exact = exact_returns(problem.weights, problem.latent, actions, noise)
    got = rollout(device, problem, actions, noise, precision=precision)
    report_error("relative L2", relative_l2(got, exact), HALF_L2[precision][gain])
    if candidates == 1000:
        assert common_elites(got, exact) >= HALF_ELITES[precision][gain]
    if gain < 3:
        twin = reference.rollout_returns(
            problem.weights, problem.latent, actions, noise, precision=precision
        )
        assert half_errors(got, twin)[1] <= HALF_FUNCTIONS[precision]


@PRECISIONS
def test_the_scale_of_a_layer_is_its_own(device: Device, precision: str) -> None:
    # Layers that no common scale would serve: fp16 holds 6e-5 to 65504 with all its digits.
    problem = make_problem(TINY, 1, seed=3)
    w = problem.weights
    weights = replace(
        w,
        prior_hidden_weight=w.prior_hidden_weight * 2.0**-24,
        prior_hidden_bias=w.prior_hidden_bias * 2.0**-10,
        prior_weight=w.prior_weight * 2.0**12,
        reward_weights=[w.reward_weights[0] * 2.0**20, w.reward_weights[1] * 2.0**-22,
                        w.reward_weights[2]],
        reward_biases=[w.reward_biases[0] * 2.0**10, *w.reward_biases[1:]],
    )  # fmt: skip
    problem = replace(problem, weights=weights)
    actions = problem.actions(2, 33)
    got = rollout(device, problem, actions, None, precision=precision)
    oracle = exact_returns(weights, problem.latent, actions, None, precision=precision)
    assert half_errors(got, oracle)[0] <= HALF_MEDIAN
