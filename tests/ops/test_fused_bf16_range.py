"""Values that bf16 does not hold give NaN to their candidate alone, on every set that has bf16."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from ops.fused_support import each_set_of, isa, needs_extension
from ops.oracle import exact_returns
from ops.tolerances import HALF_MEDIAN, returns_error, same_plan
from random_weights import TINY, TINY_SSM, Problem, Sizes, make_problem
from torch import Tensor

from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import fused
from planet.weights.rollout_weights import RolloutWeights

pytestmark = needs_extension
each_set = each_set_of("bf16")
KINDS = pytest.mark.parametrize(
    ("sizes", "activation"),
    [(TINY, "relu"), (TINY, "elu"), (TINY_SSM, "relu"), (replace(TINY, reward=()), "elu")],
    ids=["rssm", "elu", "ssm", "linear reward"],
)
PLACES = ("actions", "noise", "state", "belief")
BEYOND = (math.nan, math.inf, -math.inf, 3.4e38, -3.4e38)  # rounded to bf16 these are infinite
HORIZON, CANDIDATES = 3, 37


def a_call(sizes: Sizes, **how: Any) -> tuple[Problem, dict[str, Tensor]]:
    """Makes one problem and its inputs by place; every candidate has a start of its own."""
    problem = make_problem(sizes, 1, candidates=CANDIDATES, **how)
    actions, noise = (make(HORIZON, CANDIDATES) for make in (problem.actions, problem.noise))
    latent = problem.latent
    inputs = {"actions": actions, "noise": noise, "state": latent.state, "belief": latent.belief}
    return problem, inputs


def places(inputs: dict[str, Tensor], candidate: int) -> list[tuple[str, tuple[int, ...]]]:
    """Lists a place in every step of a candidate's inputs: the last feature."""
    found: list[tuple[str, tuple[int, ...]]] = []
    for name in PLACES:
        steps = range(HORIZON) if inputs[name].dim() == 4 else [None]
        if inputs[name].shape[-1]:
            found += [(name, (*([] if t is None else [t]), 0, candidate, -1)) for t in steps]
    return found


def changed(inputs: dict[str, Tensor], place: tuple[str, tuple[int, ...]], value: float) -> Any:
    """Copies inputs with one value at one place."""
    name, index = place
    tensor = inputs[name].clone()
    tensor[index] = value
    return inputs | {name: tensor}


def returns(weights: RolloutWeights, inputs: dict[str, Tensor]) -> Tensor:
    """Returns [J] in bf16 of the compiled core."""
    latent = LatentState(inputs["belief"], inputs["state"])
    arguments = weights, latent, inputs["actions"], inputs["noise"]
    return fused.rollout_returns(*arguments, precision="bf16")[0]


def exact(weights: RolloutWeights, inputs: dict[str, Tensor]) -> Tensor:
    """Returns [J] in float64 with operands of bf16."""
    latent = LatentState(inputs["belief"], inputs["state"])
    arguments = weights, latent, inputs["actions"], inputs["noise"]
    return exact_returns(*arguments, precision="bf16")[0]


# --- Candidates -----------------------------------------------------------------------------------


@each_set
@KINDS
def test_a_candidate_beyond_the_format_returns_nan_and_spoils_no_other(
    name: str, sizes: Sizes, activation: str
) -> None:
    problem, inputs = a_call(sizes, activation=activation)
    with isa(name):
        clean = returns(problem.weights, inputs)
        assert clean.isfinite().all()
        for candidate in (0, 15, 16, 36):
            others = torch.arange(CANDIDATES) != candidate
            for place in places(inputs, candidate):
                for value in BEYOND:
                    if place[0] == "noise" and math.isfinite(value):
                        continue  # times a stddev it may be held
                    got = returns(problem.weights, changed(inputs, place, value))
                    assert torch.equal(got[others], clean[others]), (place, value)
                    last = place[0] == "noise" and place[1][0] == HORIZON - 1
                    if sizes.reward or not last:
                        assert got[candidate].isnan(), (place, value)
                    assert not got[candidate].isfinite(), (place, value)


@each_set
@pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])
@pytest.mark.parametrize("place", ["actions", "state", "noise"])
def test_infinity_that_relu_would_take_away_is_nan(name: str, sizes: Sizes, place: str) -> None:
    # All sums with it are -inf, which ReLU makes 0: products alone would say nothing.
    problem, inputs = a_call(sizes)
    w, (first, *rest) = problem.weights, problem.weights.reward_weights
    weights = replace(w, input_weight=-w.input_weight.abs(), reward_weights=[-first.abs(), *rest])
    inputs = changed(inputs, next(p for p in places(inputs, 20) if p[0] == place), math.inf)
    with isa(name):
        got = returns(weights, inputs)
    assert got[20].isnan()
    assert got.isnan().sum() == 1


@each_set
@KINDS
def test_a_shared_start_beyond_the_format_makes_its_problem_nan(
    name: str, sizes: Sizes, activation: str
) -> None:
    problem = make_problem(sizes, 3, activation=activation)
    actions = problem.actions(2, 20)
    with isa(name):
        clean = problem.returns(fused, actions, Noise(3), precision="bf16")
        for value in BEYOND:
            for source in ("state", "belief") if sizes.belief else ("state",):
                tensors = {"belief": problem.latent.belief, "state": problem.latent.state}
                tensors[source] = tensors[source].clone()
                tensors[source][1, 0] = value
                broken = replace(problem, latent=LatentState(**tensors))
                got = broken.returns(fused, actions, Noise(3), precision="bf16")
                assert got[1].isnan().all(), (source, value)
                assert torch.equal(got[::2], clean[::2])


@each_set
def test_candidates_that_are_nan_rank_last_and_whatever_is_in_them_changes_no_plan(
    name: str,
) -> None:
    bad = [0, 16, 31, 36]
    problem, inputs = a_call(TINY)
    plans = []
    for source, value in (("belief", math.nan), ("state", math.inf), ("state", -3.4e38)):
        tensors = {"belief": inputs["belief"].clone(), "state": inputs["state"].clone()}
        tensors[source][0, bad, 1] = value
        start = replace(problem, latent=LatentState(**tensors))
        with isa(name):
            settings = {"candidates": CANDIDATES, "topk": CANDIDATES - len(bad)}
            plans.append(start.plan(fused, horizon=HORIZON, precision="bf16", **settings))
            got = returns(problem.weights, inputs | tensors)
        fitted = fused.refit(inputs["actions"], got[None], topk=CANDIDATES)
        assert fitted.elites[0, -len(bad) :].tolist() == bad
    assert plans[0].finite.all()
    assert same_plan(plans[1], plans[0])
    assert same_plan(plans[2], plans[0])


# --- Large and small numbers ----------------------------------------------------------------------


@each_set
@KINDS
@pytest.mark.parametrize("value", [3e5, -1e20, 1e30, 3e38, -3e38])
def test_large_numbers_give_float64_s_return_or_nan_where_sums_leave_the_range(
    name: str, sizes: Sizes, activation: str, value: float
) -> None:
    problem, inputs = a_call(sizes, activation=activation)
    with isa(name):
        clean = returns(problem.weights, inputs)
        for place in places(inputs, 16):
            broken = changed(inputs, place, value)
            got, expected = returns(problem.weights, broken), exact(problem.weights, broken)
            others = torch.arange(CANDIDATES) != 16
            assert torch.equal(got[others], clean[others])
            if abs(value) > 1e37 and got[16].isnan():
                continue
            # A closed gate may leave 2^-12 of a belief: sigmoid is that near.
            left = abs(value) * 2.0**-11 if place[0] == "belief" else 0.0
            assert (got[16] - expected[16]).abs() <= 0.05 * expected[16].abs() + 0.02 + left


@each_set
@KINDS
def test_denormals_count_as_zero_at_most(name: str, sizes: Sizes, activation: str) -> None:
    problem, inputs = a_call(sizes, activation=activation)
    with isa(name):
        for place in places(inputs, 5):
            zero, *tiny = (
                returns(problem.weights, changed(inputs, place, value))
                for value in (0.0, 1e-40, -1e-45, 1.2e-38)
            )
            for got in tiny:
                assert returns_error(got, zero) <= HALF_MEDIAN, place


@each_set
@pytest.mark.parametrize("layer", ["input_weight", "prior_weight", "prior_hidden_weight"])
def test_weights_beyond_the_format_give_float64_s_returns_or_nan(name: str, layer: str) -> None:
    for value in (3.4e38, -3.4e38, 1e38, 1e30):
        problem, inputs = a_call(TINY)
        weight = getattr(problem.weights, layer).clone()
        weight[1, 2] = value
        weights = replace(problem.weights, **{layer: weight})
        expected = exact(weights, inputs)
        with isa(name):
            got = returns(weights, inputs)
        held = ~got.isnan()
        scale = torch.cat([torch.ones(1), expected[held].abs()]).max()
        assert ((got - expected)[held].abs() <= 0.05 * scale).all(), value
        if value == 1e30 and layer == "input_weight":  # gates saturate; all sums are below 1e35
            assert not got.isnan().any()
