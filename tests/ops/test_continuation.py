"""Tests heads with a second row, the logit of going on: what it is equal to, on every path."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from ops.fused_support import BUILT, KERNELS, isa, threads
from ops.test_rollout import oracle_returns
from ops.tolerances import RETURNS, close, returns_error
from random_weights import TINY, TINY_SSM, Problem, Sizes, make_problem

from planet.noise import Noise
from planet.ops import equations, fused, reference
from planet.planning import PLANNERS, Imagination
from planet.weights.rollout_weights import RolloutWeights

ENDING, ENDING_SSM = (replace(sizes, continuation=True) for sizes in (TINY, TINY_SSM))
EACH = pytest.mark.parametrize(
    "sizes",
    [ENDING, ENDING_SSM, replace(ENDING, reward=()), replace(ENDING_SSM, reward=(9,))],
    ids=str,
)
EACH_KERNEL = pytest.mark.parametrize(("name", "precision"), KERNELS)
TWO = pytest.mark.parametrize("sizes", [ENDING, replace(ENDING_SSM, reward=())], ids=str)


def with_logit(weights: RolloutWeights, logit: float) -> RolloutWeights:
    """Gives a model without a second row one that says the same everywhere."""
    *hidden, last = weights.reward_weights
    *biases, bias = weights.reward_biases
    return replace(
        weights,
        reward_weights=[*hidden, torch.cat([last, torch.zeros_like(last)])],
        reward_biases=[*biases, torch.cat([bias, torch.tensor([logit])])],
    )


def certain(problem: Problem, logit: float) -> Problem:
    return replace(problem, weights=with_logit(problem.weights, logit))


def without_logit(problem: Problem) -> Problem:
    *hidden, last = problem.weights.reward_weights
    *biases, bias = problem.weights.reward_biases
    head = {"reward_weights": [*hidden, last[:1]], "reward_biases": [*biases, bias[:1]]}
    return replace(problem, weights=replace(problem.weights, **head))


@EACH
@pytest.mark.parametrize("noisy", [True, False], ids=["sampled", "mean"])
def test_reward_t_counts_by_the_sigmoids_before_it(
    ops: ModuleType, sizes: Sizes, noisy: bool
) -> None:
    problem = make_problem(sizes, 2, activation="elu", scale=2.0)
    actions, noise = problem.actions(5, 6), problem.noise(5, 6) if noisy else None
    got = problem.returns(ops, actions, noise, discount=0.9)
    assert returns_error(got, oracle_returns(problem, actions, noise, 0.9)) <= RETURNS[2.0]
    plain = without_logit(problem).returns(ops, actions, noise, discount=0.9)
    assert returns_error(plain, got) > 1e-2


def test_equal_rewards_and_odds_make_a_geometric_sum(ops: ModuleType) -> None:
    problem = make_problem(replace(ENDING, reward=()), 1)
    for logit, discount in ((0.0, 1.0), (1.5, 0.9), (-2.0, 0.8)):
        weights = replace(
            problem.weights,
            reward_weights=[torch.zeros(2, 8)],
            reward_biases=[torch.tensor([3.0, logit])],
        )
        ratio = discount * torch.sigmoid(torch.tensor(logit)).item()
        got = replace(problem, weights=weights).returns(
            ops, problem.actions(7, 5), None, discount=discount
        )
        assert close(got, torch.full((1, 5), 3.0 * (1 - ratio**7) / (1 - ratio)), 1e-5)


@pytest.mark.parametrize("sizes", [TINY, replace(TINY_SSM, reward=())], ids=str)
def test_a_model_that_never_ends_is_one_without_the_row(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 2)
    actions, noise = problem.actions(6, 21), Noise(3)
    never = certain(problem, 40.0).returns(ops, actions, noise, discount=0.9)
    assert returns_error(never, problem.returns(ops, actions, noise, discount=0.9)) <= RETURNS[1.0]
    ended = certain(problem, -40.0).returns(ops, actions, noise, discount=0.9)
    assert returns_error(ended, problem.returns(ops, actions[:1], noise)) <= RETURNS[1.0]


@EACH_KERNEL
@pytest.mark.parametrize("sizes", [TINY, replace(TINY_SSM, reward=())], ids=str)
def test_kernels_add_nothing_to_a_model_that_never_ends(
    name: str, precision: str, sizes: Sizes
) -> None:
    problem = make_problem(sizes, 2)
    actions, how = problem.actions(6, 70), {"precision": precision, "discount": 0.9}
    with isa(name):
        never, ended = (
            certain(problem, logit).returns(fused, actions, Noise(3), **how)
            for logit in (40.0, -40.0)
        )
        assert torch.equal(never, problem.returns(fused, actions, Noise(3), **how))
        first = problem.returns(fused, actions[:1], Noise(3), **how)
    assert returns_error(ended, first) <= RETURNS[1.0]


@EACH_KERNEL
@TWO
def test_kernels_equal_the_reference_around_edges_of_panels(
    name: str, precision: str, sizes: Sizes
) -> None:
    # Rounded operands fall to other sides: there the golden cases are the sharper test.
    tolerance = {"fp32": RETURNS[1.0], "int8": 5e-2, "bf16": 5e-2}[precision]
    for candidates in (1, 9, 16, 33, 48, 65):
        problem = make_problem(sizes, 1)
        actions = problem.actions(4, candidates)
        expected = problem.returns(reference, actions, Noise(11), precision=precision)
        with isa(name):
            got = problem.returns(fused, actions, Noise(11), precision=precision)
        assert returns_error(got, expected) <= tolerance, candidates


@EACH_KERNEL
@TWO
def test_rows_do_not_depend_on_batch_candidates_or_threads(
    name: str, precision: str, sizes: Sizes
) -> None:
    problem = make_problem(sizes, 3)
    actions, noise = problem.actions(4, 70), problem.noise(4, 70)
    with isa(name):
        whole = problem.returns(fused, actions, noise, precision=precision)
        with threads(3):
            assert torch.equal(problem.returns(fused, actions, noise, precision=precision), whole)
        part = problem.rows(slice(1, 2)).returns(
            fused, actions[:, 1:2, 3:40], noise[:, 1:2, 3:40], precision=precision
        )
    assert torch.equal(part, whole[1:2, 3:40])


@pytest.mark.parametrize("sizes", [ENDING, ENDING_SSM], ids=["rssm", "ssm"])
def test_a_candidate_that_is_nan_spoils_no_other(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 1)
    actions = problem.actions(3, 20)
    clean = problem.returns(ops, actions, Noise(2))
    actions[1, 0, 6] = float("nan")
    got = problem.returns(ops, actions, Noise(2))
    assert got[0, 6].isnan()
    assert got.isnan().sum() == 1
    assert close(got.nan_to_num(0.0), torch.where(got.isnan(), 0.0, clean), 0.0)


@pytest.mark.skipif(not BUILT, reason="the compiled core is not built")
@pytest.mark.parametrize("name", [kind for kind in PLANNERS if kind != "gradient"])
def test_every_planner_s_first_iteration_is_the_reference_s(name: str) -> None:
    problem = make_problem(replace(ENDING, reward=(9,)), 3, scale=2.0)
    small = {"horizon": 4, "candidates": 40}
    if name != "shooting":
        small |= {"iterations": 1, "topk": 6}
    planner = PLANNERS[name](**small)
    plans = [
        planner.plan(Imagination(problem.weights, problem.latent, backend=backend), seed=5)
        for backend in ("fused", "reference")
    ]
    assert close(plans[0].best_return, plans[1].best_return, 1e-4)
    assert close(plans[0].mean, plans[1].mean, 1e-4)
    plain = without_logit(problem)
    other = planner.plan(Imagination(plain.weights, plain.latent), seed=5)
    assert not close(other.best_return, plans[0].best_return, 1e-2)


def test_two_iterations_are_one_after_the_other_bit_for_bit(ops: ModuleType) -> None:
    problem = make_problem(ENDING, 2, scale=2.0)
    how = {"keep": 3, "momentum": 0.1, "mix": torch.eye(5) + 0.1, "temperature": 0.5}
    both = problem.plan(ops, **how)
    first = problem.plan(ops, iterations=1, **how)
    second = problem.plan(
        ops, iterations=1, first_iteration=1, start=(first.mean, first.stddev),
        kept=first.kept, **how,
    )  # fmt: skip
    for field in ("mean", "stddev", "best_return", "kept"):
        assert torch.equal(getattr(both, field), getattr(second, field)), field


def test_gradients_go_through_the_logit() -> None:
    # The reward is 1 whatever happens, so that all that actions change is how long it goes on.
    problem = make_problem(ENDING, 1)
    *hidden, last = problem.weights.reward_weights
    *biases, bias = problem.weights.reward_biases
    weights = replace(
        problem.weights,
        reward_weights=[*hidden, last * torch.tensor([[0.0], [1.0]])],
        reward_biases=[*biases, torch.tensor([1.0, bias[1]])],
    )
    imagination = Imagination(weights, problem.latent)
    actions = problem.actions(4, 3).requires_grad_()
    returns = imagination.differentiable_returns(actions, Noise(1))
    returns.sum().backward()
    assert actions.grad is not None
    assert (actions.grad[:3].abs().sum(dim=(1, 3)) > 0).all()
    assert (actions.grad[3] == 0).all()  # the last step's logit is read by no reward
    step = 1e-2 * torch.sign(actions.grad)
    with torch.no_grad():
        ends = [imagination.differentiable_returns(actions + x, Noise(1)) for x in (step, -step)]
    expected = (ends[0] - ends[1]) / 2
    assert close(expected, (actions.grad * step).sum(dim=(0, 3)), 1e-4, 2e-2)


@pytest.mark.parametrize("rows", [1, 2])
def test_the_reward_is_the_first_row(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((6, 8), (rows, 6), (6,), (rows,), (3, 4, 8))
    *layers, features = (torch.randn(shape, generator=generator) for shape in shapes)
    layers = [layers[:2], layers[2:], "elu"]
    head = equations.reward_head(features, *layers)
    assert head.shape == (3, 4, rows)
    reward, logit = equations.outcome(head)
    assert torch.equal(equations.reward(features, *layers), reward)
    assert torch.equal(reward, head[..., 0])
    assert logit is None if rows == 1 else torch.equal(logit, head[..., 1])
