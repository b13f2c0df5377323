"""`Imagination`: a snapshot rolled out from fixed starts, in a box of actions."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeImagination
from linear_model import GAIN, linear_latent, linear_weights
from ops.tolerances import same_plan
from random_weights import TINY, make_problem

from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import backend
from planet.planning import CEMPlanner, Imagination
from planet.planning.box import Box
from planet.weights.rollout_weights import RolloutWeights

PLANNER = CEMPlanner(horizon=4, candidates=30, topk=5, iterations=2)


def test_returns_are_the_op_s(ops: Any, imagine: MakeImagination) -> None:
    problem = make_problem(TINY, 2)
    actions, noise = problem.actions(3, 7), Noise(4, 1)
    for drawn in (noise, problem.noise(3, 7), None):
        expected = problem.returns(ops, actions, drawn, discount=0.5)
        assert torch.equal(imagine(2, discount=0.5).returns(actions, drawn), expected)
    mean = problem.returns(ops, actions, None)
    assert torch.equal(imagine(2, state_noise=False).returns(actions, noise), mean)


def test_the_same_is_rolled_out_from_other_starts(imagine: MakeImagination) -> None:
    first, other = imagine(2, discount=0.9, high=[0.5, 1.0]), make_problem(TINY, 5).latent
    there = first.at(other)
    assert (there.batch_size, first.batch_size) == (5, 2)
    assert there.low.shape == there.high.shape == (5, 2)
    made = imagine(5, discount=0.9, high=[0.5, 1.0])
    assert same_plan(PLANNER.plan(there, seed=3), PLANNER.plan(made.at(other), seed=3))


def test_copies_and_pickles_plan_alike(imagine: MakeImagination) -> None:
    imagination = imagine(2, low=[-1.0, -0.5])
    again = pickle.loads(pickle.dumps(imagination))
    assert same_plan(PLANNER.plan(again), PLANNER.plan(imagination))


# ---- The box of actions --------------------------------------------------------------------------

LARGEST = float(np.finfo(np.float32).max)


def distance_to(goal: float) -> tuple[RolloutWeights, LatentState]:
    """One action, one step: reward -|action - goal|."""
    start = torch.tensor([[0.0]]), torch.tensor([[goal * GAIN]])
    weights = linear_weights(dims=1, transition="ssm")
    scaled = [weights.reward_weights[0], weights.reward_weights[1] / GAIN]
    return replace(weights, reward_weights=scaled), linear_latent(*start, transition="ssm")


@pytest.mark.parametrize(
    ("low", "high", "goal"),
    [
        (10.0, 20.0, 15.0), (0.0, 30.0, 15.0), (14.0, 16.0, 15.0), (-1.0, 1.0, 0.3),
        (-300, -100, -150.0), (np.float64(14), [16], 15.0), (torch.tensor([10.0]), 20.0, 15.0),
        (np.array([[10]]), torch.tensor([20], dtype=torch.int32), 15.0),
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_reaches_a_goal_anywhere_in_its_box(
    ops: Any, low: Any, high: Any, goal: float
) -> None:
    name = ops.__name__.rpartition(".")[2]
    imagination = Imagination(*distance_to(goal), low=low, high=high, backend=name)
    for seed in range(3):
        plan = CEMPlanner(horizon=1).plan(imagination, seed=seed)
        assert abs(plan.action.item() - goal) < 0.05
        assert plan.stddev.item() < 0.05


def test_the_first_candidates_fill_the_box(imagine: MakeImagination) -> None:
    """Mean and stddev of a dimension's uniform elites are those of the clipped distribution."""
    low, high = torch.tensor([[10.0, -4.0], [0.0, 3.0]]), torch.tensor([[20.0, 4.0], [2.0, 3.0]])
    middle, half = (low + high) / 2, (high - low) / 2
    imagination = imagine(2, low=low, high=high)
    mean, stddev = imagination.box.distribution((3, 2, 2), 0.5)
    assert torch.equal(mean, middle.expand(3, 2, 2))
    assert torch.equal(stddev, (half * 0.5).expand(3, 2, 2))
    plan = CEMPlanner(horizon=4, candidates=2000, topk=2000, iterations=1).plan(imagination)
    assert ((plan.mean - middle).abs() <= 0.1 * half).all()
    assert ((plan.stddev - 0.72 * half).abs() <= 0.05 * half + 1.1e-3).all()  # clipped at 1 sigma


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-LARGEST, LARGEST), (LARGEST, LARGEST), (0.99 * LARGEST, LARGEST), (1e-45, 1e-45),
        (0.0, 1e-45), (0.1, 0.1), (1.0, np.nextafter(np.float32(1.0), np.float32(2.0))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tensors", [False, True])
def test_huge_and_tiny_boxes_hold_their_plans(
    imagine: MakeImagination, low: float, high: float, tensors: bool
) -> None:
    bounds = {"low": low, "high": [high] * 2} if tensors else {"low": low, "high": high}
    planner = replace(PLANNER, initial_stddev=2.0)
    mean = planner.plan(imagine(1, **bounds)).mean.numpy()
    assert (np.float32(low) <= mean).all()
    assert (mean <= np.float32(high)).all()
    if low == high:
        assert (mean == np.float32(low)).all()


def test_bounds_are_copied(imagine: MakeImagination) -> None:
    for bound in (np.array([0.5, 0.1], np.float32), torch.tensor([0.5, 0.1])):
        imagination = imagine(1, high=bound)
        before = PLANNER.plan(imagination)
        bound[:] = float("nan")
        assert same_plan(PLANNER.plan(imagination), before)


def test_a_box_is_where_the_weights_are() -> None:
    there, meta = torch.zeros(2, device="meta"), torch.device("meta")
    for low, high in ((there, [1.0, 2.0]), ([[-1.0, -1.0]], there), (-1, 1)):
        box = Box.of(low, high, 1, 2, meta)
        assert {part.device for part in vars(box).values()} == {meta}


# ---- What is missing, and errors -----------------------------------------------------------------


def test_what_is_not_served_is_refused(ops: Any, imagine: MakeImagination) -> None:
    planner = CEMPlanner(1, 1, 1, 1)
    with pytest.raises(ValueError, match="budget_ms: expected a value > 0, got 0"):
        planner.plan(imagine(2), budget_ms=0)
    if ops is backend("fused"):
        refused = "precision: 'fp16' has no kernels on cpu; use 'fp32', 'int8' or 'bf16'"
        with pytest.raises(ValueError, match=refused):
            planner.plan(imagine(1, precision="fp16"))
        refused = "variant: 'persistent' has no kernels on cpu; use 'portable'"
        with pytest.raises(ValueError, match=refused):
            planner.plan(imagine(1, variant="persistent"))


def made_of(weights: Any = None, latent: Any = None, **how: Any) -> Callable[[], object]:
    problem = make_problem(TINY, 2)

    def make() -> object:
        given = (weights or problem.weights, latent or problem.latent)
        return Imagination(*given, **how)

    return make


LATENT = make_problem(TINY, 2).latent


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (made_of(weights=3), TypeError, "weights: expected RolloutWeights, got int"),
        (made_of(latent=3), TypeError, "latent: expected LatentState, got int"),
        (made_of(latent=LatentState(LATENT.belief, LATENT.state[:1])), ValueError,
         "latent.state: expected shape [2, 3] ([B, S]), got [1, 3]"),
        (made_of(latent=LatentState(torch.tensor(0.0), LATENT.state)), ValueError,
         "latent.belief: expected shape [B, D] or [B, J, D], got []"),
        (made_of(latent=LatentState(LATENT.belief[:0], LATENT.state[:0])), ValueError,
         "latent.belief: expected sizes >= 1 in [B, D] or [B, J, D], got [0, 5]"),
        (made_of(backend="cuda"), ValueError,
         "backend: expected one of ['fused', 'reference'], got 'cuda'"),
        (made_of(precision="fp4"), ValueError,
         "precision: expected one of ['fp32', 'int8', 'fp16', 'bf16'], got 'fp4'"),
        (made_of(variant="fast"), ValueError,
         "variant: expected one of ['portable', 'persistent'], got 'fast'"),
        (made_of(variant="persistent", backend="reference"), ValueError,
         "variant: expected 'portable' with backend='reference', got 'persistent'"),
        (made_of(state_noise=1), TypeError, "state_noise: expected bool, got int"),
        (made_of(discount="1"), TypeError, "discount: expected a float, got str"),
        (made_of(low=1.0, high=0.0), ValueError, "low: expected a value <= high=0.0, got 1.0"),
        (made_of(low=np.array([0.0, np.nan])), ValueError,
         "low: expected finite float32 values, got nan at [1]"),
        (made_of(low=[0.0, 2.0]), ValueError,
         "low: expected values <= high, got 2.0 above 1.0 at [1]"),
        *((made_of(high=high), ValueError,
           f"high: expected a float or shape [A=2] or [B=2, A=2], got {shape}")
          for high, shape in (([1.0] * 3, [3]), ([[1.0, 1.0]] * 3, [3, 2]), ([1.0], [1]))),
    ],
)  # fmt: skip
def test_a_bad_imagination_is_refused_when_it_is_made(
    make: Callable[[], object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        make()
    assert str(error.value) == message
