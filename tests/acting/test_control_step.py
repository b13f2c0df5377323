"""The captured control step: the eager one's results, from buffers that no caller ever sees."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import agents
import numpy as np
import pytest
import torch
from conftest import FUSED_MISSING, fused_is_built
from ops.cuda import emulated
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from planet import captured_step, noise
from planet.agent import Agent
from planet.config import ImaginationConfig, ModelConfig
from planet.graphs import Graph
from planet.latent import LatentState
from planet.models import WorldModel
from planet.noise import row_seeds
from planet.ops import draws, fused
from planet.ops.kernels import CudaKernels
from planet.planning import CEMPlanner

SIZE, A = 16, 3
PLANNER = CEMPlanner(horizon=3, candidates=20, iterations=2, topk=5)
REFERENCE = ImaginationConfig(backend="reference")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]
BACKENDS = [
    "reference",
    pytest.param("fused", marks=pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)),
]


def make_model(device: str = "cpu") -> WorldModel:
    config = ModelConfig(
        state_size=5, belief_size=17, hidden_size=19, encoder_channels=(4, 6), encoder_kernel=3,
        decoder="mlp", decoder_hidden=(9,), reward_layers=1, reward_hidden=8,
    )  # fmt: skip
    model = WorldModel(config, A, SIZE)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model.to(device)


def make_agent(capture: bool | None = True, model: WorldModel | None = None, **how: Any) -> Agent:
    settings = vars(PLANNER.sampling) | vars(REFERENCE) | how
    return agents.make_agent(model or make_model(), capture, **settings)


def frame(seed: int, batch: int = 1) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)


class Captures:
    """Notes every capture, and makes graphs through `make`."""

    def __init__(self) -> None:
        self.count = 0
        self.make: Callable[..., Graph] = captured_step.capture

    def __call__(self, body: Callable[[], None], device: torch.device) -> Graph:
        self.count += 1
        return self.make(body, device)


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Captures:
    noted = Captures()
    monkeypatch.setattr(captured_step, "capture", noted)
    return noted


# ---- The same as the eager step ------------------------------------------------------------------


def trace(agent: Agent, batch: int) -> Iterator[Tensor]:
    """Everything that an agent gives out in an eventful episode."""
    agent.reset(row_seeds(7, batch))
    for t in range(8):
        if t == 3:
            agent.executed(np.full((batch, A), 0.25))
        if t == 4:
            agent.reset(rows=[batch - 1])
        if t == 5:
            agent.exploration_stddev = 0.7
        if t == 6:
            agent.filter(frame(t, batch))
            agent.plan()
        else:
            yield torch.from_numpy(agent.act(frame(t, batch), explore=t % 2 == 1))
        assert agent.latent is not None and agent.planned is not None
        yield from (agent.latent.belief, agent.latent.state)
        plan = agent.planned
        yield from (plan.action, plan.mean, plan.stddev, plan.best_return)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("device", DEVICES)
def test_captured_and_eager_agree_bit_for_bit(device: str, backend: str, batch: int) -> None:
    if device == "cuda" and backend == "reference":
        pytest.skip("the reference cannot be captured")
    agents = [make_agent(capture, make_model(device), backend=backend) for capture in (False, True)]
    traces = [list(trace(agent, batch)) for agent in agents]
    assert len(traces[0]) == len(traces[1]) > 50
    for eager, captured in zip(*traces, strict=True):
        assert torch.equal(eager, captured)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_captured_and_eager_agree_on_emulated_kernels(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CUDA path to its end: draws and plans by the kernels that a GPU would run."""
    if reason := emulated.missing():
        pytest.skip(reason)
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    monkeypatch.setitem(fused._KERNELS, "cpu", emulated.EmulatedKernels())
    traces = []
    for capture in (False, True):
        agent = make_agent(capture, backend="fused", precision=precision)
        agent.reset(row_seeds(7, 2))
        actions = [agent.act(frame(t, 2), explore=t == 1).tolist() for t in range(3)]
        assert agent.latent is not None
        traces.append([actions, agent.latent.belief.tolist()])
    assert traces[0] == traces[1]


def test_draws_of_a_device_are_those_of_the_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kernels are had they are asked; their own test compares them (ops/cuda)."""
    seeds = torch.tensor([3, -5])
    which = {"stream": 4, "time": 1, "iteration": 2, "particle": 3}
    uniforms = draws.uniforms(seeds, 6, 2, **which)
    assert uniforms.equal(noise.uniforms(noise.words(seeds, 6, 2, **which)).float())
    assert draws.normals(seeds, 6, 2, **which).equal(noise.normals(seeds, 6, 2, **which))

    class Kernels(CudaKernels):
        asked: list[tuple[object, ...]] = []

        def ready(self) -> bool:
            return True

        def call(self, op: str, *arguments: object) -> Tensor:
            self.asked.append((op, *arguments[1:]))
            return torch.ones(2, 6, 2, dtype=torch.float64)

    monkeypatch.setitem(fused._KERNELS, "cpu", Kernels(None))
    assert draws.uniforms(seeds, 6, 2, **which).dtype == torch.float32
    draws.normals(seeds, 6, 2, **which)
    assert Kernels.asked == [("uniforms", 6, 2, 4, 1, 2, 3), ("normals", 6, 2, 4, 1, 2, 3, None)]


@pytest.mark.parametrize("device", DEVICES)
def test_a_new_snapshot_is_planned_with(device: str) -> None:
    backend = "reference" if device == "cpu" else "fused"
    plans = []
    for capture in (False, True):
        model = make_model(device)
        agent = make_agent(capture, model, backend=backend)
        agent.reset()
        agent.act(frame(0))
        with torch.no_grad():
            for weight in model.reward_model.weights:
                weight.mul_(-2.0)
        agent.update_weights()
        agent.act(frame(1))
        assert agent.planned is not None
        plans.append(agent.planned.mean)
    assert torch.equal(*plans)


def test_acting_in_inference_mode_changes_nothing() -> None:
    agents = [make_agent(), make_agent()]
    for agent in agents:
        agent.reset(1)
    with torch.inference_mode():
        first = agents[0].act(frame(0))
    assert np.array_equal(first, agents[1].act(frame(0)))
    assert np.array_equal(agents[0].act(frame(1)), agents[1].act(frame(1)))


# ---- What is handed out --------------------------------------------------------------------------


def test_results_stay_as_they_were_handed_out() -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    assert agent.latent is not None and agent.planned is not None
    kept = [agent.latent.belief, agent.latent.state, agent.planned.action, agent.planned.mean]
    before = [tensor.clone() for tensor in kept]
    for t in range(1, 3):
        agent.act(frame(t))
    agent.filter(frame(3))
    agent.plan()
    assert all(torch.equal(left, right) for left, right in zip(kept, before, strict=True))
    assert not torch.equal(agent.latent.belief, before[0])


def test_another_latent_can_be_assigned() -> None:
    agents = [make_agent(False), make_agent(True)]
    actions = []
    for agent in agents:
        agent.reset(3)
        agent.act(frame(0))
        assert agent.latent is not None
        agent.latent = LatentState(agent.latent.belief * 0.5, agent.latent.state + 1.0)
        actions.append(agent.act(frame(1)))
    assert np.array_equal(*actions)


# ---- When it is captured -------------------------------------------------------------------------


def test_each_part_is_captured_once(captures: Captures) -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    for t in range(3):
        agent.act(frame(t, 2))
    assert captures.count == 1
    agent.exploration_stddev = 0.1
    agent.act(frame(3, 2), explore=True)
    agent.exploration_stddev = 0.2
    agent.act(frame(4, 2), explore=True)
    assert captures.count == 2
    agent.reset(row_seeds(9, 2))
    agent.reset(rows=[0])
    agent.act(frame(5, 2))
    agent.act(frame(5, 2), explore=True)
    assert captures.count == 2
    agent.filter(frame(6, 2))
    agent.plan()
    assert captures.count == 4


def change_batch_size(agent: Agent) -> None:
    agent.reset(row_seeds(0, 3))


def change_planner(agent: Agent) -> None:
    agent.planner = replace(agent.planner, iterations=1)


def move_parameters(agent: Agent) -> None:
    for parameter in agent.world_model.parameters():
        parameter.data = parameter.data.clone()
    agent.reset()


CHANGES = [Agent.update_weights, change_batch_size, change_planner, move_parameters]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_captured_is_dropped_when_something_changes(
    change: Callable[[Agent], None], captures: Captures
) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    old = weakref.ref(agent._captured)  # type: ignore[arg-type]
    change(agent)
    agent.act(frame(1, agent.batch_size))
    assert captures.count == 2
    gc.collect()  # the stand-in of a graph holds what it calls
    assert old() is None
    agent.act(frame(2, agent.batch_size))
    assert captures.count == 2


def test_nothing_is_captured_where_it_does_not_pay(captures: Captures) -> None:
    agent = make_agent(capture=None)  # on the CPU
    agent.reset()
    agent.act(frame(0))
    assert captures.count == 0
    assert agent._captured is None


def test_the_reference_cannot_be_captured_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WorldModel, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match="capture: expected None or False for backend='reference'"):
        Agent(make_model(), PLANNER, imagination=REFERENCE, capture=True)
    Agent(make_model(), PLANNER, imagination=REFERENCE, capture=None)


# ---- Failures ------------------------------------------------------------------------------------


class InterruptedGraph:
    """Does its work, and is interrupted before anybody learns of it."""

    def __init__(self, body: Callable[[], None]) -> None:
        self.body, self.interrupt, self.started = body, False, False

    def replay(self) -> None:
        self.body()
        self.started = True

    def wait(self) -> None:
        interrupted, self.started = self.started and self.interrupt, False
        if interrupted:
            self.interrupt = False
            raise KeyboardInterrupt


def step(agent: Agent, t: int) -> list[Any]:
    """The action of a step, and the belief that it was planned from."""
    action = agent.act(frame(t))
    assert agent.latent is not None
    return [action.tolist(), agent.latent.belief.tolist()]


def test_an_interrupted_step_is_taken_again(captures: Captures) -> None:
    undisturbed, agent = make_agent(), make_agent()
    undisturbed.reset(2)
    expected = [step(undisturbed, t) for t in range(3)]
    graphs: list[InterruptedGraph] = []

    def make(body: Callable[[], None], device: torch.device) -> Graph:
        graphs.append(InterruptedGraph(body))
        return graphs[-1]

    captures.make = make
    agent.reset(2)
    steps = [step(agent, 0)]
    latent, planned = agent.latent, agent.planned
    graphs[0].interrupt = True
    with pytest.raises(KeyboardInterrupt):
        agent.act(frame(1))
    assert agent.latent is latent and agent.planned is planned
    steps += [step(agent, t) for t in (1, 2)]
    assert steps == expected


def test_runs_to_warm_up_leave_no_trace(captures: Captures) -> None:
    """A CUDA graph's body runs before it is captured, with the latent in its static buffers."""
    expected = list(trace(make_agent(), 2))

    class WarmedUp(InterruptedGraph):
        def __init__(self, body: Callable[[], None]) -> None:
            super().__init__(body)
            body()
            body()

    captures.make = lambda body, device: WarmedUp(body)
    for left, right in zip(trace(make_agent(), 2), expected, strict=True):
        assert torch.equal(left, right)


# ---- What a CUDA graph cannot hold ---------------------------------------------------------------


class CaptureRules(TorchDispatchMode):
    """Refuses what a stream capture refuses: results read by the host, and numbers copied to it.

    `lift_fresh` is `torch.tensor(number)`, which on a device is a copy from pageable memory.
    """

    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "nonzero", "equal.default", "is_nonzero")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(part in name for part in self.FORBIDDEN):
            raise AssertionError(f"{name} cannot be captured")
        return func(*args, **(kwargs or {}))


def one_kernel(seeds: Tensor, candidates: int, dims: int, **which: int) -> Tensor:
    """Stands in for the compiled draws, which are one kernel on a device."""
    shape = (len(seeds), candidates, dims)
    return seeds.float().reshape(-1, 1, 1).expand(shape).sin()


@pytest.mark.parametrize("kernels", ["cpu", pytest.param("emulated", marks=pytest.mark.slow)])
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (torch.full((A,), -0.5), torch.full((A,), 0.5))])
def test_a_captured_step_reads_nothing_and_copies_no_numbers(
    bounds: tuple[Any, Any], kernels: str, captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    if kernels == "cpu":
        for name in ("normals", "uniforms"):
            monkeypatch.setattr(draws, name, one_kernel)
    elif reason := emulated.missing():
        pytest.skip(reason)
    else:  # the Python of the CUDA path, draws included
        monkeypatch.setitem(fused._KERNELS, "cpu", emulated.EmulatedKernels())
    bodies: list[Callable[[], None]] = []

    def make(body: Callable[[], None], device: torch.device) -> Graph:
        bodies.append(body)
        return InterruptedGraph(body)

    captures.make = make
    agent = make_agent(backend="fused", low=bounds[0], high=bounds[1])
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2), explore=True)
    agent.act(frame(0, 2))
    agent.filter(frame(1, 2))
    agent.plan()
    assert len(bodies) == 4
    with CaptureRules():
        for body in bodies:
            body()


def test_the_rules_see_what_a_capture_refuses() -> None:
    x = torch.ones(3)
    for refused in (lambda: x.sum().item(), lambda: bool(x.any()), lambda: x.new_tensor(1.0)):
        with CaptureRules(), pytest.raises(AssertionError, match="cannot be captured"):
            refused()
    with CaptureRules():
        x.new_full((3,), 1.0).add_(x).clamp(-1.0, 1.0)
