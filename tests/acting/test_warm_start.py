"""Plans start where the one before goes on, row by row, in every form of the control step."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acting.captures import DEVICES, trace
from agents import MakeAgent, latent_of, small_agent
from ops.fused_support import needs_extension
from small_models import frame, make_model

from planet.acting import agent as module
from planet.acting.agent import Agent
from planet.noise import row_seeds
from planet.planning import CEMPlanner, SamplingPlanner
from planet.protocols import Plan

WARM: dict[str, dict[str, Any]] = {
    "icem": {"planner": "icem", "horizon": 4, "low": [-0.5, -2.0], "high": [1.5, 2.0]},
    "mppi": {"planner": "mppi", "horizon": 4, "low": [-0.5, -2.0], "high": [1.5, 2.0]},
    "one step": {"planner": "icem", "horizon": 1, "colour": 0.0},
    "no elites": {"planner": "icem", "horizon": 3, "keep": 0, "output": "mean"},
}
COLD: dict[str, dict[str, Any]] = {
    "cem": {},
    "shooting": {"planner": "shooting"},
    "gradient": {"planner": "gradient"},
    "icem that goes on from nothing": {"planner": "icem", "shift": "none"},
}


def planned(agent: Agent) -> Plan:
    assert agent.planned is not None
    return agent.planned


def tensors(plan: Plan) -> list[torch.Tensor]:
    return [plan.action, plan.mean, plan.stddev, plan.best_return, plan.kept]


def same(one: Plan, other: Plan, row: int | None = None) -> bool:
    """Whether plans have the same bits, in one row or in all."""
    rows = slice(None) if row is None else row
    pairs = list(zip(tensors(one), tensors(other), strict=True))
    first, rest = [pairs[0], pairs[3]], [pairs[1], pairs[2], pairs[4]]
    return all(torch.equal(a[rows], b[rows]) for a, b in first) and all(
        torch.equal(a[:, rows], b[:, rows]) for a, b in rest
    )


def moved_on(past: Plan, planner: SamplingPlanner, middle: torch.Tensor) -> Plan:
    """The plan after one step, entry by entry."""
    horizon, batch = past.mean.shape[:2]
    mean, kept = torch.empty_like(past.mean), torch.empty_like(past.kept)
    for t in range(horizon):
        for b in range(batch):
            if t + 1 < horizon:
                mean[t, b], kept[t, b] = past.mean[t + 1, b], past.kept[t + 1, b]
            else:
                repeats = planner.settings.shift == "repeat"
                mean[t, b] = past.mean[t, b] if repeats else middle[b]
                kept[t, b] = torch.nan
    return replace(past, mean=mean, kept=kept)


def start(make_agent: MakeAgent, case: str, batch: int = 3, steps: int = 2) -> Agent:
    agent = make_agent(**WARM[case])
    agent.reset(row_seeds(5, batch))
    for t in range(steps):
        agent.act(frame(t, batch), explore=True)
    return agent


@pytest.mark.parametrize("case", WARM)
def test_a_plan_starts_from_the_one_before_a_step_later(make_agent: MakeAgent, case: str) -> None:
    agent = start(make_agent, case, steps=0)
    planner, past = agent.planner, None
    assert isinstance(planner, SamplingPlanner)
    middle = agent.imagination.box.middle.expand(3, -1)
    for t in range(3):
        seeds = agent._require_reset().frozen().step_seeds()
        agent.act(frame(t, 3))
        warm = None if past is None else moved_on(past, planner, middle)
        imagination = agent.imagination.at(latent_of(agent))
        expected = planner.plan(imagination, seeds, warm=warm)
        assert same(planned(agent), expected)
        if past is not None:
            assert not same(expected, planner.plan(imagination, seeds))
        past = expected


@pytest.mark.parametrize("case", COLD)
def test_other_planners_start_anew(make_agent: MakeAgent, case: str) -> None:
    agent = make_agent(**COLD[case])
    agent.reset(row_seeds(5, 2))
    for t in range(3):
        seeds = agent._require_reset().frozen().step_seeds()
        agent.act(frame(t, 2))
        imagination = agent.imagination.at(latent_of(agent))
        assert same(planned(agent), agent.planner.plan(imagination, seeds))


@pytest.mark.parametrize("case", WARM)
def test_a_row_that_restarts_is_cold_and_the_others_stay_warm(
    make_agent: MakeAgent, case: str
) -> None:
    agent, undisturbed, fresh = (start(make_agent, case) for _ in range(3))
    agent.reset([9], rows=[1])
    fresh.reset([7, 9, 8])
    for each in (agent, undisturbed, fresh):
        each.act(frame(2, 3))
    assert same(planned(agent), planned(fresh), row=1)  # a first step's, bit for bit
    for row in (0, 2):
        assert same(planned(agent), planned(undisturbed), row)
        assert not same(planned(agent), planned(fresh), row)
    for each in (agent, undisturbed, fresh):
        each.act(frame(3, 3))
    assert same(planned(agent), planned(fresh), row=1)
    for row in (0, 2):
        assert same(planned(agent), planned(undisturbed), row)


@pytest.mark.parametrize("case", WARM)
def test_halves_of_a_step_are_warm_too_and_leave_no_trace(make_agent: MakeAgent, case: str) -> None:
    whole, halves = (start(make_agent, case) for _ in range(2))
    executed = np.full((3, 2), 0.25)
    whole.executed(executed)
    halves.executed(executed)
    halves.filter(frame(2, 3))
    plans = [halves.plan() for _ in range(3)]
    assert halves.planned is plans[-1]
    past, latent = halves._require_reset().past, latent_of(whole)
    whole.act(frame(2, 3))
    assert all(same(plan, planned(whole)) for plan in plans)
    assert past is not None and not same(past, plans[0])  # still that of the newest act
    halves.latent = latent
    halves.executed(executed)
    halves.act(frame(2, 3))
    assert same(planned(halves), planned(whole))


def learn(agent: Agent) -> None:
    with torch.no_grad():
        for parameter in agent.world_model.parameters():
            parameter.mul_(-0.9)
    agent.update_weights()


KEPT: dict[str, Callable[[Agent], Agent]] = {
    "pickled": lambda agent: pickle.loads(pickle.dumps(agent)),
    "copied": copy.deepcopy,
    "another latent": lambda agent: setattr(agent, "latent", agent.latent) or agent,
    "the same planner": lambda agent: setattr(agent, "planner", agent.planner) or agent,
    "the same weights": lambda agent: agent.update_weights() or agent,
}


@pytest.mark.parametrize("case", ["icem", "mppi"])
@pytest.mark.parametrize("how", KEPT)
def test_what_keeps_the_warm_start(make_agent: MakeAgent, how: str, case: str) -> None:
    expected, agent = (start(make_agent, case) for _ in range(2))
    agent = KEPT[how](agent)
    for t in range(2, 4):
        assert np.array_equal(agent.act(frame(t, 3)), expected.act(frame(t, 3)))
    assert same(planned(agent), planned(expected))


def test_new_weights_keep_it(make_agent: MakeAgent) -> None:
    agent = start(make_agent, "icem")
    past, planner = planned(agent), agent.planner
    assert isinstance(planner, SamplingPlanner)
    learn(agent)
    seeds = agent._require_reset().frozen().step_seeds()
    agent.act(frame(2, 3))
    warm = moved_on(past, planner, agent.imagination.box.middle.expand(3, -1))
    imagination = agent.imagination.at(latent_of(agent))
    assert same(planned(agent), planner.plan(imagination, seeds, warm=warm))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "an elite less": lambda planner: replace(planner, keep=planner.keep - 1),
    "a longer horizon": lambda planner: replace(planner, horizon=planner.horizon + 1),
    "of equal settings": copy.copy,
    "of another kind": lambda planner: CEMPlanner(
        planner.horizon, planner.candidates, planner.iterations, planner.topk
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_planner_starts_cold(make_agent: MakeAgent, change: str) -> None:
    agent = start(make_agent, "icem")
    agent.planner = CHANGES[change](agent.planner)
    seeds = agent._require_reset().frozen().step_seeds()
    agent.act(frame(2, 3))
    imagination = agent.imagination.at(latent_of(agent))
    assert same(planned(agent), agent.planner.plan(imagination, seeds))


def test_another_batch_size_starts_cold(make_agent: MakeAgent) -> None:
    agent, fresh = start(make_agent, "icem"), start(make_agent, "icem", steps=0)
    for each in (agent, fresh):
        each.reset(row_seeds(8, 2))
        for t in range(3):
            each.act(frame(t, 2))
    assert same(planned(agent), planned(fresh))


def test_a_step_that_fails_leaves_the_warm_start(make_agent: MakeAgent) -> None:
    """A plan that is not finite is refused; the step that is taken again is as warm as it was."""
    agent, undisturbed = (start(make_agent, "icem") for _ in range(2))
    weight = agent.world_model.reward_model.weights[0]
    with torch.no_grad():
        before = weight.clone()
        weight.fill_(3e38)
        agent.update_weights()
        for call in (lambda: agent.act(frame(2, 3)), agent.plan):
            with pytest.raises(ValueError, match="plan: expected finite returns"):
                call()
        weight.copy_(before)
    agent.update_weights()
    for each in (agent, undisturbed):
        each.act(frame(2, 3))
    assert same(planned(agent), planned(undisturbed))


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("case", [*WARM, *COLD])
@pytest.mark.parametrize("device", DEVICES)
def test_captured_and_eager_steps_have_the_same_bits(device: str, case: str, batch: int) -> None:
    how = {"backend": "fused"} if device == "cuda" else {}
    agents = [
        small_agent(capture, make_model().to(device), **{**WARM, **COLD}[case], **how)
        for capture in (False, True)
    ]
    traces = [list(trace(agent, batch)) for agent in agents]
    assert all(map(torch.equal, *traces))


@needs_extension
@pytest.mark.parametrize("case", [*WARM, *COLD])
def test_compiled_captured_and_eager_steps_have_the_same_bits(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, how = make_model(), {**WARM, **COLD}[case]
    expected = list(trace(small_agent(None, model, backend="fused", **how), 5))
    monkeypatch.setattr(module, "is_compiled", lambda step: False)
    for capture in (False, True):
        agent = small_agent(capture, model, backend="fused", **how)
        assert all(map(torch.equal, trace(agent, 5), expected))
