"""Captured control steps: their occasions, interruptions, and what a CUDA graph cannot hold."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from acting.captures import CaptureRules, Captures, InterruptedGraph, trace
from agents import latent_of, small_agent
from conftest import FUSED_MISSING, fused_is_built
from ops.cuda import emulated
from small_models import frame, make_model

from planet.acting.agent import Agent
from planet.acting.cuda_graph import Graph
from planet.models import WorldModel
from planet.noise import row_seeds
from planet.weights.filter_weights import FilterWeights


def test_each_part_is_captured_once(captures: Captures) -> None:
    agent = small_agent()
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


def change_model(agent: Agent) -> None:
    agent.world_model = make_model(encoder_channels=(4, 7))
    agent.update_weights()


CHANGES = [change_batch_size, change_planner, change_model]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_captured_is_dropped_when_something_changes(
    change: Callable[[Agent], None], captures: Captures
) -> None:
    agent = small_agent()
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
    agent = small_agent(capture=None)  # on the CPU
    agent.reset()
    agent.act(frame(0))
    assert captures.count == 0
    assert agent._captured is None


def test_the_reference_cannot_be_captured_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = make_model().filter_weights()
    monkeypatch.setattr(WorldModel, "filter_weights", lambda model: snapshot)
    monkeypatch.setattr(FilterWeights, "device", torch.device("cuda"))
    with pytest.raises(ValueError, match="capture: expected None or False for backend='reference'"):
        small_agent(True)
    small_agent(None)


def step(agent: Agent, t: int) -> list[Any]:
    """The action of a step, and the belief that it was planned from."""
    return [agent.act(frame(t)).tolist(), latent_of(agent).belief.tolist()]


def test_an_interrupted_step_is_taken_again(captures: Captures) -> None:
    undisturbed, agent = small_agent(), small_agent()
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
    expected = list(trace(small_agent(), 2))

    class WarmedUp(InterruptedGraph):
        def __init__(self, body: Callable[[], None]) -> None:
            super().__init__(body)
            body()
            body()

    captures.make = lambda body, device: WarmedUp(body)
    for left, right in zip(trace(small_agent(), 2), expected, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("kernels", ["cpu", pytest.param("emulated", marks=pytest.mark.slow)])
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (torch.full((2,), -0.5), torch.full((2,), 0.5))])
def test_a_captured_step_reads_nothing_and_copies_no_numbers(
    bounds: tuple[Any, Any], kernels: str, captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    if kernels == "emulated":  # the Python of the CUDA path
        emulated.stand_in(monkeypatch)
    bodies: list[Callable[[], None]] = []

    def make(body: Callable[[], None], device: torch.device) -> Graph:
        bodies.append(body)
        return InterruptedGraph(body)

    captures.make = make
    agent = small_agent(backend="fused", low=bounds[0], high=bounds[1])
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
