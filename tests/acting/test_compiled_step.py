"""One compiled call makes a step of the bits that the plain form has, and allocates nothing."""

from __future__ import annotations

import gc
import itertools
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from acting.captures import trace
from agents import latent_of, play, small_agent
from ops.fused_support import ISAS, KERNELS, isa, needs_extension
from small_models import frame, make_model
from torch.utils._python_dispatch import TorchDispatchMode

from planet.acting import agent as module
from planet.acting.agent import Agent
from planet.acting.compiled_step import is_compiled
from planet.noise import row_seeds
from planet.planning import CEMPlanner
from planet.protocols import Plan

pytestmark = needs_extension


def compiled(**how: Any) -> Agent:
    return small_agent(None, backend="fused", **how)


@contextmanager
def plain_steps() -> Iterator[None]:
    """Lets agents act operator by operator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "is_compiled", lambda step: False)
        yield


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "rows of bounds": {"low": torch.full((5, 2), -0.5), "high": [0.5, 1.0]},
    "a fixed action": {"low": [0.1, -3.0], "high": [0.1, 3.0]},
    "no noise": {"state_noise": False, "discount": 0.9},
    "other draws": {"initial_stddev": 0.7, "spread": "mean_absolute", "epsilon": 1e-3},
    "one of each": {"horizon": 1, "candidates": 1, "topk": 1, "iterations": 1},
    "elu": {"model": {"activation": "elu", "bit_depth": 8, "min_stddev": 0.2}},
    "one layer": {"model": {"encoder_channels": (3,), "encoder_kernel": 8}},
}


def check_forms(model: Mapping[str, Any] = MappingProxyType({}), **how: Any) -> None:
    """With exploration, actions of others, rows that restart, and halves of steps between."""
    world_model = make_model(**model)
    agents = [small_agent(capture, world_model, backend="fused", **how) for capture in (None, True)]
    expected = list(trace(agents[0], 5))
    assert agents[0]._compiled is not None and agents[1]._compiled is None
    with plain_steps():
        others = [*agents[1:], small_agent(False, world_model, backend="fused", **how)]
        for other in others:
            for left, right in zip(trace(other, 5), expected, strict=True):
                assert torch.equal(left, right)


@pytest.mark.parametrize("case", CASES)
def test_compiled_captured_and_plain_steps_have_the_same_bits(case: str) -> None:
    check_forms(**CASES[case])


@pytest.mark.parametrize(("name", "precision"), KERNELS)
def test_so_they_have_in_every_precision(name: str, precision: str) -> None:
    with isa(name):
        check_forms(precision=precision)


@pytest.mark.parametrize("name", ISAS)
def test_another_instruction_set_is_taken_at_the_next_step(name: str) -> None:
    agent, plain = compiled(), compiled()
    for each in (agent, plain):
        each.reset(3)
        each.act(frame(0))
    with isa(name):
        got = agent.act(frame(1))
        with plain_steps():
            expected = plain.act(frame(1))
    assert np.array_equal(got, expected)


def change_threads(agent: Agent) -> None:
    torch.set_num_threads(3 - torch.get_num_threads())


def change_planner(agent: Agent) -> None:
    assert isinstance(agent.planner, CEMPlanner)
    agent.planner = replace(agent.planner, candidates=2 * agent.planner.candidates)


def change_horizon(agent: Agent) -> None:
    assert isinstance(agent.planner, CEMPlanner)
    agent.planner = replace(agent.planner, horizon=agent.planner.horizon + 1)


def change_budget(agent: Agent) -> None:
    agent.budget_ms = 1e9


def change_snapshot(agent: Agent) -> None:
    with torch.no_grad():
        for parameter in agent.world_model.parameters():
            parameter.mul_(-0.9)
    agent.update_weights()


def change_model(agent: Agent) -> None:
    agent.world_model = make_model(encoder_channels=(3,), hidden_size=9)
    agent.update_weights()


def change_form(agent: Agent) -> None:
    agent.capture = None if agent.capture else True


CHANGES = [
    change_threads, change_planner, change_horizon, change_budget, change_snapshot, change_model,
    change_form,
]  # fmt: skip


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changes_between_steps_counts_from_the_next_one(
    change: Callable[[Agent], None], threads: None
) -> None:
    def acted(agent: Agent) -> list[list[float]]:
        agent.reset(row_seeds(4, 2))
        actions = []
        for t in range(4):
            if t:
                change(agent)
            actions += agent.act(frame(t, 2), explore=True).tolist()
        return actions + latent_of(agent).features.tolist()

    got = acted(compiled())
    with plain_steps():
        assert acted(compiled()) == got


def test_buffers_are_kept_for_a_batch_size_and_a_form_of_snapshot() -> None:
    agent = compiled()
    agent.reset(row_seeds(1, 2))
    agent.act(frame(0, 2))
    kept = agent._compiled
    agent.reset(row_seeds(2, 2))
    change_snapshot(agent)
    change_planner(agent)
    agent.act(frame(1, 2))
    assert agent._compiled is kept
    for change in (change_horizon, lambda agent: agent.reset(row_seeds(1, 3))):
        change(agent)
        agent.act(frame(2, agent.batch_size))
        assert agent._compiled is not kept
        kept = agent._compiled


class Ours(CEMPlanner):
    """Plans in a way of its own."""

    def plan(self, *arguments: Any, **settings: Any) -> Plan:
        return super().plan(*arguments, **settings)


def test_other_steps_are_none() -> None:
    agent = compiled()
    assert is_compiled(agent._control_step())
    agent.planner = Ours(horizon=2, candidates=8, iterations=2, topk=3)
    assert not is_compiled(agent._control_step())
    assert not is_compiled(small_agent(None, backend="reference")._control_step())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"budget_ms": -1.0}, "budget_ms: expected a"),
        ({"precision": "fp16"}, "precision: 'fp16' has no kernels on cpu"),
        ({"variant": "persistent"}, "variant: 'persistent' has no kernels on cpu"),
    ],
)
def test_what_is_not_served_is_refused_in_the_same_words(how: Any, message: str) -> None:
    for capture in (None, True):
        agent = small_agent(capture, backend="fused", **how)
        agent.reset()
        with pytest.raises(ValueError, match=message):
            agent.act(frame(0))
        assert not latent_of(agent).features.any()


# ---- What is handed out --------------------------------------------------------------------------


def test_copies_are_made_when_asked_for_and_stay_as_they_are() -> None:
    agent = compiled()
    agent.reset(1)
    agent.act(frame(0))
    latent, plan = latent_of(agent), agent.planned
    assert agent.latent is latent and agent.planned is plan is not None
    kept = [latent.belief, latent.state, plan.action, plan.mean, plan.stddev, plan.best_return]
    before = [tensor.clone() for tensor in kept]
    for t in range(1, 4):
        agent.act(frame(t))
    assert all(map(torch.equal, kept, before))
    latent = latent_of(agent)
    latent.belief.zero_()  # theirs to write
    undisturbed = compiled()
    undisturbed.reset(1)
    play(undisturbed)
    assert np.array_equal(agent.act(frame(4)), undisturbed.act(frame(4)))


# ---- What is allocated ---------------------------------------------------------------------------


class Operators(TorchDispatchMode):
    """Lists the operators of PyTorch that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_step_is_one_call_that_allocates_no_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = compiled()
    agent.reset(row_seeds(2, 3))
    pictures = frame(0, 3)
    for _ in range(2):
        agent.act(pictures, explore=True)
    with Operators() as operators:
        agent.act(pictures, explore=True)
    assert operators.called == ["planet.control_step.default"]
    monkeypatch.setenv("KINETO_LOG_LEVEL", "6")  # read at the first profile of a process
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        agent.act(pictures)
        held = torch.empty(1000)
    sizes = {event.name: event.cpu_memory_usage for event in seen.events()}
    assert sizes.pop("aten::empty") == held.nbytes  # an allocation is seen
    assert sizes.pop("planet::control_step") == 0
    assert not any(sizes.values())


def test_steps_keep_no_memory_and_need_less_than_a_frame() -> None:
    agent = small_agent(None, make_model(image_size=64), backend="fused")
    agent.reset(1)
    picture = frame(0, size=64)
    for explore in (False, True, False, True):
        agent.act(picture, explore)
    gc.collect()
    gc.disable()  # nothing waits for it
    tracemalloc.start()
    try:
        action = agent.act(picture, True)
        steps, blocks = itertools.repeat(None, 500), sys.getallocatedblocks()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in steps:
            action = agent.act(picture, True)
        after, peak = tracemalloc.get_traced_memory()
        grown = sys.getallocatedblocks() - blocks
    finally:
        tracemalloc.stop()
        gc.enable()
    assert action.shape == (2,)
    assert grown < 100, "blocks, in five times as many steps"
    assert after - before < 1000
    assert peak - before < picture.nbytes
