"""torch.compile and torch.export take the ops whole, also before a first plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from ops.fused_support import KERNELS, isa, needs_extension
from ops.step_calls import make_call, packs
from random_filters import make_filter_problem
from random_weights import TINY, make_problem
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from planet.latent import LatentState
from planet.noise import Noise, row_seeds
from planet.ops import fused, kernels
from planet.ops.checks import PRECISIONS
from planet.planning import CEMPlanner, ICEMPlanner, Imagination
from planet.protocols import Plan
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights

H, J, PLAN = 1, 9, {"candidates": 9, "topk": 3, "iterations": 1}
Outputs = tuple[Tensor, ...]


class Calls:
    """Calls the ops of one backend with tensors alone."""

    def __init__(self, ops: ModuleType) -> None:
        self.ops = ops
        name = ops.__name__.rpartition(".")[2]
        self.how: dict[str, Any] = {"backend": name, "low": [-1, -2]}
        self.planner = CEMPlanner(horizon=H, **PLAN)
        self.icem = ICEMPlanner(horizon=H, candidates=J, topk=2, keep=2, colour=2.5)

    def by_planner(self, w: RolloutWeights, belief: Tensor, state: Tensor) -> Outputs:
        plan = self.planner.plan(Imagination(w, LatentState(belief, state), **self.how), seed=3)
        return plan.action, plan.mean, plan.stddev, plan.best_return, plan.finite

    def by_icem(self, w: RolloutWeights, belief: Tensor, state: Tensor, kept: Tensor) -> Outputs:
        imagination = Imagination(w, LatentState(belief, state), **self.how)
        mean = torch.zeros(H, belief.shape[0], 2)
        warm = Plan(mean[0], mean, mean, mean[0, :, 0], 1, kept)
        plan = self.icem.plan(imagination, seed=3, warm=warm)
        return plan.action, plan.mean, plan.stddev, plan.best_return, plan.kept

    def by_new_planner(
        self, w: RolloutWeights, belief: Tensor, state: Tensor, seeds: Tensor
    ) -> Outputs:
        imagination = Imagination(w, LatentState(belief, state), backend=self.how["backend"])
        plan = CEMPlanner(horizon=H, **PLAN).plan(imagination, seeds)
        return plan.mean, plan.best_return

    def cem_plan(self, w: RolloutWeights, belief: Tensor, state: Tensor, low: Tensor) -> Outputs:
        mean = torch.zeros(H, belief.shape[0], 2)
        plan = self.ops.cem_plan(
            w, LatentState(belief, state), mean, mean + 1, seed=1, low=low, high=[0.5, 1], **PLAN
        )
        return plan.mean, plan.best_return

    def search(
        self, w: RolloutWeights, belief: Tensor, state: Tensor, mix: Tensor, kept: Tensor
    ) -> Outputs:
        mean = torch.zeros(H, belief.shape[0], 2)
        plan = self.ops.cem_plan(
            w, LatentState(belief, state), mean, mean + 1, seed=1, candidates=[J, 5], topk=3,
            iterations=2, mix=mix, kept=kept, keep=2, momentum=0.1, temperature=0.5, output="best",
        )  # fmt: skip
        return plan.action, plan.mean, plan.stddev, plan.best_return, plan.kept

    def rollout_returns(
        self, w: RolloutWeights, belief: Tensor, state: Tensor, actions: Tensor
    ) -> Outputs:
        return (self.ops.rollout_returns(w, LatentState(belief, state), actions, Noise(3, 1)),)

    def filter_step(
        self, w: FilterWeights, belief: Tensor, state: Tensor, action: Tensor, frames: Tensor,
        seeds: Tensor,
    ) -> Outputs:  # fmt: skip
        latent = self.ops.filter_step(w, LatentState(belief, state), action, frames, seeds)
        return latent.belief, latent.state

    def refit(self, w: RolloutWeights, actions: Tensor, returns: Tensor) -> Outputs:
        fitted = self.ops.refit(actions, returns, topk=3, temperature=0.5)
        return fitted.mean, fitted.stddev, fitted.elites, fitted.best


NAMES = [name for name in vars(Calls) if not name.startswith("_")]


def inputs_of(name: str, batch: int = 2) -> tuple[Any, Outputs]:
    """Makes a snapshot that was never planned with, and the tensors of a call."""
    if name == "filter_step":
        step = make_filter_problem(batch=batch)
        latent = step.latent
        inputs = latent.belief, latent.state, step.action, step.observation, step.seeds
        return step.weights, inputs
    problem, generator = make_problem(TINY, batch), torch.Generator().manual_seed(1)
    start = problem.latent.belief, problem.latent.state
    actions = torch.rand(H, batch, J, 2, generator=generator)
    more = {
        "by_planner": (), "by_new_planner": (row_seeds(1, batch),),
        "cem_plan": (torch.full((2,), -0.5),), "rollout_returns": (actions,),
        "search": (torch.eye(H), actions[:, :, :2].contiguous()),
        "by_icem": (actions[:, :, :2].contiguous(),),
    }  # fmt: skip
    inputs = (actions, torch.rand(batch, J)) if name == "refit" else (*start, *more[name])
    return problem.weights, inputs


class Program(nn.Module):
    """Wraps a call for torch.export."""

    def __init__(self, call: Callable[..., Outputs], weights: Any) -> None:
        super().__init__()
        self.call, self.weights = call, weights

    def forward(self, *inputs: Tensor) -> Outputs:
        return self.call(self.weights, *inputs)


@pytest.fixture(autouse=True)
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def same(got: Outputs, expected: Outputs) -> bool:
    return all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_an_op_compiles_without_a_graph_break(ops: ModuleType, name: str) -> None:
    call = getattr(Calls(ops), name)
    weights, inputs = inputs_of(name)
    backend = "aot_eager" if ops is fused else "eager"
    compiled = torch.compile(call, fullgraph=True, backend=backend, dynamic=ops is fused)
    assert same(compiled(weights, *inputs), call(*make_copy(weights), *inputs))
    real(weights)


def make_copy(weights: Any) -> tuple[Any]:
    values = {name: v for name, v in vars(weights).items() if not name.startswith("_")}
    return (type(weights)(**values),)


def real(weights: Any) -> None:
    """Checks that a snapshot keeps what was packed, not what was traced."""
    assert all(type(kept) is Tensor for kept in weights._cache.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_op_is_exported_before_a_first_plan(ops: ModuleType, name: str) -> None:
    call = getattr(Calls(ops), name)
    weights, inputs = inputs_of(name)
    program = torch.export.export(Program(call, weights), inputs, strict=False).module()
    real(weights)
    assert same(program(*inputs), call(weights, *inputs))
    real(weights)


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_plans_of_every_precision_are_traced(name: str, precision: str) -> None:
    calls = Calls(fused)
    calls.how["precision"] = precision
    with isa(name):
        weights, inputs = inputs_of("by_planner")
        program = torch.export.export(Program(calls.by_planner, weights), inputs, strict=False)
        expected = calls.by_planner(*make_copy(weights), *inputs)
        assert same(program.module()(*inputs), expected)
        compiled = torch.compile(calls.by_planner, fullgraph=True, backend="aot_eager")
        assert same(compiled(weights, *inputs), expected)


@needs_extension
def test_an_exported_filter_step_takes_any_batch_size() -> None:
    call = Calls(fused).filter_step
    weights, inputs = inputs_of("filter_step", 3)
    batch = torch.export.Dim("B", min=2, max=64)
    program = torch.export.export(
        Program(call, weights), inputs, dynamic_shapes=(({0: batch},) * 5,), strict=False
    ).module()
    _, other = inputs_of("filter_step", 5)
    assert same(program(*other), call(weights, *other))


@needs_extension
def test_an_exported_plan_takes_any_batch_size_with_its_seeds() -> None:
    call = Calls(fused).by_new_planner
    weights, inputs = inputs_of("by_new_planner", 3)
    batch = torch.export.Dim("B", min=2, max=64)
    program = torch.export.export(
        Program(call, weights), inputs, dynamic_shapes=(({0: batch},) * 3,), strict=False
    ).module()
    _, other = inputs_of("by_new_planner", 5)
    assert same(program(*other), call(weights, *other))


@needs_extension
def test_a_compiled_plan_packs_once() -> None:
    graphs: list[str] = []

    def look(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        graphs.append(graph.code)
        return graph.forward

    weights, inputs = inputs_of("by_planner")
    compiled = torch.compile(Calls(fused).by_planner, fullgraph=True, backend=look)
    for _ in range(4):
        compiled(weights, *inputs)
    assert ["pack_weights" in code for code in graphs] == [True, False]


@needs_extension
def test_a_traced_pack_is_as_long_as_a_real_one() -> None:
    weights, inputs = inputs_of("by_planner")
    with FakeTensorMode(allow_non_fake_inputs=True):
        Calls(fused).by_planner(weights, *inputs)
    assert weights._cache == {}
    number = fused._C.isa()
    for precision in map(PRECISIONS.index, fused.served_precisions("cpu")):
        given = kernels.tensors(weights), kernels.sizes(weights), number, precision
        torch.library.opcheck(torch.ops.planet.pack_weights, given)
        packed = torch.ops.planet.pack_weights(*given)
        assert packed.numel() == fused._C.packed_bytes(kernels.sizes(weights), number, precision)
        torch.library.opcheck(torch.ops.planet.pack_weights_, (packed, *given))
    with pytest.raises(RuntimeError, match=r"sizes: expected \[D, S, A, M"):
        fused._C.packed_bytes([1], number, 0)


@needs_extension
def test_a_traced_pack_of_a_filter_is_as_long_as_a_real_one() -> None:
    weights, inputs = inputs_of("filter_step")
    with FakeTensorMode(allow_non_fake_inputs=True):
        Calls(fused).filter_step(weights, *inputs)
    assert weights._cache == {}
    own, rollout = weights.named_tensors(rollout=False), weights.rollout
    packed, encoder = kernels.CpuKernels(fused._C).filter_model(weights)
    rest = kernels.tensors(rollout), encoder, kernels.sizes(rollout), fused._C.isa()
    torch.library.opcheck(torch.ops.planet.pack_filter, (list(own.values()), *rest))
    assert packed.numel() == fused._C.packed_filter_bytes(*rest[1:])
    latent_and_action = inputs[2], *inputs[:2]
    arguments = packed, *rest[1:3], 0.1, rest[3], *inputs[3:], *latent_and_action
    torch.library.opcheck(torch.ops.planet.filter_step, arguments)


@needs_extension
def test_a_control_step_writes_its_outputs_alone() -> None:
    call = make_call(spans=30)
    arguments = call.arguments | packs(call.weights, "fp32")
    torch.library.opcheck(
        torch.ops.planet.control_step, tuple(arguments.values()), test_utils="test_schema"
    )


def op_calls() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    problem = make_problem(TINY, batch=2)
    model = kernels.KERNELS["cpu"].model(problem.weights, "fp32")
    belief, state = problem.latent.belief, problem.latent.state
    actions, noise = problem.actions(3, 10), problem.noise(3, 10)
    mean, stddev = problem.distribution(3)
    seeds, one = torch.zeros(2, dtype=torch.int64), torch.ones(2, 2)
    before = *model, belief, state, mean, stddev, seeds, -one, one
    settings, kept = (3, 2, 0, 0, 1e-6, True, 1.0, None, 0), actions[:, :, :2].contiguous()
    number, observation = fused._C.isa(), torch.zeros(3, 2, 4, 5, 3, dtype=torch.uint8)
    ops = torch.ops.planet
    return {
        "normals": (ops.normals.default, (seeds, 5, 3, 1, 0, 0, 0, number)),
        "images": (ops.images.default, (observation, seeds, 5, number)),
        "rollout": (
            ops.rollout_returns.default,
            (*model, belief, state, actions, noise, None, 0, 0, 1.0),
        ),
        "rollout seeds": (
            ops.rollout_returns.default,
            (*model, belief, state, actions, None, seeds, 1, 2, 0.9),
        ),
        "refit": (ops.refit.default, (actions, actions[0, :, :, 0].contiguous(), 3, 0, 1e-6, None)),
        "cem_plan": (
            ops.cem_plan.default,
            (*before, [10], *settings, None, None, 0, 0.0, None, 0),
        ),
        "search": (
            ops.cem_plan.default,
            (*before, [10, 7], *settings, torch.eye(3), kept, 2, 0.5, 0.1, 1),
        ),
    }  # fmt: skip


@needs_extension
@pytest.mark.parametrize(
    "name", ["normals", "images", "rollout", "rollout seeds", "refit", "cem_plan", "search"]
)
def test_ops_pass_opcheck(name: str) -> None:
    op, arguments = op_calls()[name]
    torch.library.opcheck(op, arguments)


@needs_extension
def test_arguments_that_need_gradients_get_none() -> None:
    problem = make_problem(TINY, batch=1)
    actions = problem.actions(2, 6).requires_grad_()
    returns = problem.returns(fused, actions, Noise(0))
    assert not returns.requires_grad
    assert not fused.refit(actions, returns, topk=2).mean.requires_grad
