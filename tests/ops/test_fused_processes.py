"""The compiled core under torch.compile, and as registered ops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ops.fused_support import needs_extension
from random_weights import TINY, make_problem

from planet.noise import Noise
from planet.ops import fused

pytestmark = needs_extension


def op_calls() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    problem = make_problem(TINY, batch=2)
    model = fused._KERNELS["cpu"].model(problem.weights, "fp32")
    belief, state = problem.latent.belief, problem.latent.state
    actions, noise = problem.actions(3, 10), problem.noise(3, 10)
    mean, stddev = problem.distribution(3)
    seeds, one = torch.zeros(2, dtype=torch.int64), torch.ones(2, 2)
    ops = torch.ops.planet
    return {
        "rollout": (
            ops.rollout_returns.default,
            (*model, belief, state, actions, noise, None, 0, 0, 1.0),
        ),
        "rollout seeds": (
            ops.rollout_returns.default,
            (*model, belief, state, actions, None, seeds, 1, 2, 0.9),
        ),
        "refit": (ops.refit.default, (actions, actions[0, :, :, 0].contiguous(), 3, 0, 1e-6)),
        "cem_plan": (
            ops.cem_plan.default,
            (
                *model, belief, state, mean, stddev, seeds, -one, one, 10, 3, 2, 0, 0, 1e-6, True,
                1.0, None,
            ),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["rollout", "rollout seeds", "refit", "cem_plan"])
def test_ops_pass_opcheck(name: str) -> None:
    op, arguments = op_calls()[name]
    torch.library.opcheck(op, arguments)


def test_ops_compile_into_one_graph() -> None:
    problem = make_problem(TINY, batch=2)
    belief, state = problem.latent.belief, problem.latent.state
    model = fused._KERNELS["cpu"].model(problem.weights, "fp32")
    actions, seeds = problem.actions(3, 10), torch.arange(2)

    def score_and_fit(actions: torch.Tensor) -> torch.Tensor:
        returns = torch.ops.planet.rollout_returns(
            *model, belief, state, actions * 0.5, None, seeds, 0, 0, 1.0
        )
        return torch.ops.planet.refit(actions, returns, 3, 0, 1e-6)[0] + 1.0

    compiled = torch.compile(score_and_fit, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(actions), score_and_fit(actions))


def test_arguments_that_need_gradients_get_none() -> None:
    problem = make_problem(TINY, batch=1)
    actions = problem.actions(2, 6).requires_grad_()
    returns = fused.rollout_returns(problem.weights, problem.latent, actions, Noise(0))
    assert not returns.requires_grad
    assert not fused.refit(actions, returns, topk=2).mean.requires_grad
