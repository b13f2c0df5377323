"""Returns with int8 products: how near float32 they are, and where they are exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from types import ModuleType

import pytest
import torch
from ops.tolerances import INT8_MEDIAN, INT8_RMS, INT8_TO_FLOAT32, close, int8_errors
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Problem, Sizes, make_problem
from torch import Tensor

from planet.latent import LatentState
from planet.noise import Noise, row_seeds
from planet.ops import reference

SMALL = PRESET_SIZES["small"]
EACH_ACTIVATION = pytest.mark.parametrize("activation", ["relu", "elu"])
EACH_TRANSITION = pytest.mark.parametrize("belief", [100, 0], ids=["rssm", "ssm"])


def returns(ops: ModuleType, problem: Problem, actions: Tensor, noise: object) -> Tensor:
    found: Tensor = problem.returns(ops, actions, noise, precision="int8")
    return found


# --- Near float32 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", list(PRESET_SIZES))
@pytest.mark.parametrize("transition", ["rssm", "ssm"])
@EACH_ACTIVATION
def test_int8_returns_are_near_those_of_float32(
    int8_ops: ModuleType,
    size: str,
    transition: str,
    activation: str,
    report_error: Callable[[str, float, float], None],
) -> None:
    sizes = PRESET_SIZES[size] if transition == "rssm" else replace(PRESET_SIZES[size], belief=0)
    problem = make_problem(sizes, 2, seed=1, activation=activation)
    actions = problem.actions(12, 64)
    got = returns(int8_ops, problem, actions, Noise(3))
    exact = problem.returns(reference, actions, Noise(3))
    assert not torch.equal(got, exact)
    report_error("rms over stddev", int8_errors(got, exact)[1], INT8_TO_FLOAT32)


@EACH_ACTIVATION
@EACH_TRANSITION
def test_int8_finds_the_elites_of_float32(
    int8_ops: ModuleType, belief: int, activation: str
) -> None:
    problem = make_problem(replace(SMALL, belief=belief), 2, seed=4, activation=activation)
    actions = problem.actions(12, 400)
    got = returns(int8_ops, problem, actions, Noise(3))
    exact = problem.returns(reference, actions, Noise(3))
    for b in range(2):
        best, expected = (set(x[b].topk(40).indices.tolist()) for x in (got, exact))
        assert len(best & expected) / len(best | expected) >= 0.85
        ranks = torch.stack([x[b].argsort().argsort().double() for x in (got, exact)])
        assert torch.corrcoef(ranks)[0, 1] > 0.999


@pytest.mark.parametrize("scale", [1.5, 4.0, 20.0])
@EACH_ACTIVATION
def test_starts_beyond_1_are_served(int8_ops: ModuleType, activation: str, scale: float) -> None:
    problem = make_problem(SMALL, 2, seed=2, activation=activation, candidates=64)
    start = LatentState(problem.latent.belief * scale, problem.latent.state * scale)
    problem = replace(problem, latent=start)
    actions = problem.actions(6, 64)
    got = returns(int8_ops, problem, actions, None)
    exact = reference.rollout_returns(problem.weights, start, actions, None)
    assert int8_errors(got, exact)[1] <= INT8_TO_FLOAT32
    median, rms = int8_errors(got, returns(reference, problem, actions, None))
    assert median <= INT8_MEDIAN
    assert rms <= INT8_RMS


# --- Exact ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-7, 3])
@EACH_TRANSITION
def test_a_power_of_two_taken_from_a_relu_layer_to_the_next_changes_no_bit(
    int8_ops: ModuleType, belief: int, exponent: int
) -> None:
    # Steps of weights and activations are relative to the largest: a power of two goes through.
    problem = make_problem(replace(SMALL, belief=belief, reward=(50, 40)), 2)
    actions, factor = problem.actions(4, 30), 2.0**exponent
    expected = returns(int8_ops, problem, actions, Noise(1))
    w = problem.weights
    first, second, last = w.reward_weights
    after = "gru_weight_ih" if belief else "prior_hidden_weight"
    for change in (
        {"input_weight": w.input_weight * factor, "input_bias": w.input_bias * factor,
         after: getattr(w, after) / factor},
        {"prior_hidden_weight": w.prior_hidden_weight * factor,
         "prior_hidden_bias": w.prior_hidden_bias * factor,
         "prior_weight": w.prior_weight / factor},
        {"reward_weights": [first * factor, second / factor, last],
         "reward_biases": [w.reward_biases[0] * factor, *w.reward_biases[1:]]},
        {"reward_weights": [first, second * factor, last / factor],
         "reward_biases": [w.reward_biases[0], w.reward_biases[1] * factor, w.reward_biases[2]]},
    ):  # fmt: skip
        scaled = replace(problem, weights=replace(w, **change))
        assert torch.equal(returns(int8_ops, scaled, actions, Noise(1)), expected)


@EACH_ACTIVATION
@EACH_TRANSITION
def test_hidden_layers_at_their_lower_end_are_exact(
    int8_ops: ModuleType, belief: int, activation: str
) -> None:
    # All outputs are 0, or -1 of ELU: what the integer 0 stands for. The last layer is float32.
    sizes = replace(SMALL, belief=belief, reward=(60, 50))
    problem = make_problem(sizes, 1, activation=activation)
    w, low = problem.weights, torch.tensor(-200.0)
    dead = replace(
        w,
        input_bias=low.expand_as(w.input_bias),
        prior_hidden_bias=low.expand_as(w.prior_hidden_bias),
        reward_biases=[low.expand(60), low.expand(50), w.reward_biases[2]],
    )
    actions = problem.actions(3, 20)
    got = int8_ops.rollout_returns(dead, problem.latent, actions, Noise(0), precision="int8")
    output = w.reward_biases[2] - (w.reward_weights[2].sum() if activation == "elu" else 0.0)
    assert close(got, (3 * output).expand(1, 20), 1e-5)


def test_a_linear_reward_and_its_inputs_stay_float32(int8_ops: ModuleType) -> None:
    # The belief is kept (update gate 1) and the prior has no weights: nothing depends on a product.
    problem = make_problem(replace(TINY, reward=()), 2)
    size, state = TINY.belief, TINY.state
    gates = torch.zeros(3 * size)
    gates[size : 2 * size] = 300.0
    bias = torch.cat([torch.linspace(-0.9, 0.7, state), torch.zeros(state)])
    weights = replace(
        problem.weights,
        gru_bias_ih=gates,
        prior_weight=torch.zeros_like(problem.weights.prior_weight),
        prior_bias=bias,
    )
    actions, noise = problem.actions(4, 9), problem.noise(4, 9)
    got, exact = (
        int8_ops.rollout_returns(weights, problem.latent, actions, noise, precision=precision)
        for precision in ("int8", "fp32")
    )
    assert close(got, exact, 1e-6)


@EACH_TRANSITION
def test_a_problem_alone_is_the_row_of_a_batch(int8_ops: ModuleType, belief: int) -> None:
    problem, seeds = make_problem(replace(SMALL, belief=belief), 3), row_seeds(2, 3)
    actions = problem.actions(5, 9)
    batch = returns(int8_ops, problem, actions, Noise(2))
    for b in range(3):
        row = slice(b, b + 1)
        alone = returns(int8_ops, problem.rows(row), actions[:, row], Noise(seeds[row]))
        if int8_ops is reference:
            assert int8_errors(alone, batch[row])[1] <= INT8_RMS
        else:
            assert torch.equal(alone, batch[row])


def test_float32_is_the_default_and_left_alone(int8_ops: ModuleType) -> None:
    problem = make_problem(TINY, 2)
    actions = problem.actions(3, 8)
    before = problem.returns(int8_ops, actions, None)
    got = returns(int8_ops, problem, actions, None)
    after = problem.returns(int8_ops, actions, None, precision="fp32")
    assert torch.equal(before, after)
    assert not torch.equal(before, got)


# --- What is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [TINY, TINY_SSM, Sizes(5, 3, 2, 7, ())], ids=str)
@EACH_ACTIVATION
def test_what_is_not_finite_spoils_only_its_own_candidate(
    int8_ops: ModuleType, sizes: Sizes, activation: str
) -> None:
    places = ["actions", "noise", "state", *(["belief"] if sizes.belief else [])]
    for place, bad in product(places, [float("nan"), float("inf"), float("-inf")]):
        problem = make_problem(sizes, 2, candidates=20, activation=activation)
        actions, noise = problem.actions(3, 20), problem.noise(3, 20)
        expected = returns(int8_ops, problem, actions, noise)
        belief, state = problem.latent.belief.clone(), problem.latent.state.clone()
        values = {"actions": actions[0], "noise": noise[0], "state": state, "belief": belief}
        values[place][0, 3, 1] = bad
        spoiled = replace(problem, latent=LatentState(belief, state))
        got = returns(int8_ops, spoiled, actions, noise)
        keep = torch.ones(2, 20, dtype=torch.bool)
        keep[0, 3] = False
        assert torch.equal(got[keep], expected[keep]), (place, bad)
        assert got[0, 3].isnan(), (place, bad)


# --- Plans ----------------------------------------------------------------------------------------


def test_an_iteration_is_sampling_rollout_and_refit() -> None:
    problem = make_problem(TINY, 2)
    int8 = partial(problem.plan, reference, precision="int8")
    plan, both = int8(iterations=1), int8(iterations=2)
    assert not torch.equal(plan.best_return, problem.plan(reference, iterations=1).best_return)
    again = int8(start=(plan.mean, plan.stddev), iterations=1, first_iteration=1)
    assert torch.equal(again.mean, both.mean)
    assert torch.equal(again.best_return, both.best_return)


def test_precisions_are_refused_by_name(ops: ModuleType) -> None:
    problem = make_problem(TINY, 1)
    for wrong in ("int16", "fp8", "INT8", None, 8):
        with pytest.raises(ValueError) as error:
            problem.returns(ops, problem.actions(1, 2), None, precision=wrong)
        assert str(error.value) == (
            f"precision: expected one of ['fp32', 'int8', 'fp16', 'bf16'], got {wrong!r}"
        )
