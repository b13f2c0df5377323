"""Blocks: several actions of a plan are executed before the next one, row by row."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acting.test_warm_start import learn, moved_on, planned, same
from agents import MakeAgent, belief_after, latent_of, small_agent
from small_models import frame
from torch import Tensor

from planet import ops
from planet.acting.agent import Agent
from planet.acting.control_step import ControlStep
from planet.acting.moment import zero_latent
from planet.acting.timeline import Timeline
from planet.noise import STREAM_EXPLORATION, mix_seed, row_seeds
from planet.ops import draws
from planet.planning import CEMPlanner, SamplingPlanner
from planet.protocols import Plan

BOX: dict[str, Any] = {"low": [-0.5, -2.0], "high": [1.5, 2.0]}
CASES: dict[str, dict[str, Any]] = {
    "cem": {"planner": "cem", **BOX},
    "gradient": {"planner": "gradient", **BOX},
    "icem": {"planner": "icem", "keep": 2, **BOX},
    "mppi": {"planner": "mppi", **BOX},
}
EACH = pytest.mark.parametrize("case", CASES)


def make(make_agent: MakeAgent, case: str = "icem", execute: int = 2, steps: int = 0) -> Agent:
    """An agent of three rows with plans of four steps, after some steps."""
    agent = make_agent(horizon=4, execute=execute, **CASES[case])
    agent.reset(row_seeds(5, 3))
    for t in range(steps):
        agent.act(frame(t, 3))
    return agent


def actions(plan: Plan, case: str) -> Tensor:
    """The sequence of a plan: iCEM acts by the best one."""
    return plan.kept[:, :, 0] if case == "icem" else plan.mean


@EACH
def test_a_plan_is_followed_for_its_block(make_agent: MakeAgent, case: str) -> None:
    """Makes the steps by hand, with exploration."""
    agent, planner, past = make(make_agent, case), make(make_agent, case).planner, None
    box, backend = agent.imagination.box, ops.backend(agent.imagination.backend)
    latent, action = zero_latent(agent.weights.rollout, 3), torch.zeros(3, 2)
    for t in range(5):
        pictures = frame(t, 3)
        seeds = torch.tensor([mix_seed(mix_seed(int(s), 0), t) for s in row_seeds(5, 3)])
        image = torch.from_numpy(pictures)
        latent = backend.filter_step(agent.weights, latent, action, image, seeds)
        if t % 2 == 0:
            warm = None
            if past is not None and case in ("icem", "mppi"):
                assert isinstance(planner, SamplingPlanner)
                for _ in range(2):
                    past = moved_on(past, planner, box.middle.expand(3, -1))
                warm = past
            past = planner.plan(agent.imagination.at(latent), seeds, warm=warm)
            made = past
        noise = draws.normals(seeds, 1, 2, stream=STREAM_EXPLORATION)[:, 0]
        action = box.clip(actions(made, case)[t % 2] + 0.3 * noise * box.half_width)
        acted = torch.from_numpy(agent.act(pictures, explore=True))
        torch.testing.assert_close(acted, action, rtol=0, atol=1e-6)
        torch.testing.assert_close(latent_of(agent).features, latent.features)
        assert torch.allclose(planned(agent).mean, made.mean, atol=1e-6)
        assert (agent._require_reset().frozen().steps == t + 1).all()


def test_the_first_action_of_each_plan_is_that_of_an_agent_that_plans_at_every_step(
    make_agent: MakeAgent,
) -> None:
    loops = [make(make_agent, "cem", execute) for execute in (1, 2, 4)]
    first = [loop.act(frame(0, 3)) for loop in loops]
    assert all(np.array_equal(action, first[0]) for action in first)
    second = [loop.act(frame(1, 3)) for loop in loops]
    assert np.array_equal(second[1], second[2]) and not np.array_equal(second[0], second[1])


def count_plans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []
    plan = ControlStep.plan

    def counted(step: ControlStep, *inputs: Any) -> Plan:
        made.append(1)
        return plan(step, *inputs)

    monkeypatch.setattr(ControlStep, "plan", counted)
    return made


def test_rows_in_phase_plan_once_a_block(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, agent = count_plans(monkeypatch), make(make_agent, execute=3)
    seen = []
    for t in range(7):
        agent.act(frame(t, 3))
        seen.append(len(made))
    assert seen == [1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("case", ["cem", "icem"])
def test_a_row_that_restarts_in_a_block_begins_one_of_its_own(
    make_agent: MakeAgent, case: str
) -> None:
    agent, undisturbed = (make(make_agent, case, 3, steps=2) for _ in range(2))
    fresh = make(make_agent, case, 3)
    agent.reset([9], rows=[1])
    fresh.reset([7, 9, 8])
    for t in range(2, 7):
        left, right, new = (each.act(frame(t, 3)) for each in (agent, undisturbed, fresh))
        assert np.array_equal(left[1], new[1])
        assert same(planned(agent), planned(fresh), row=1)
        for row in (0, 2):
            assert np.array_equal(left[row], right[row])
            assert same(planned(agent), planned(undisturbed), row)


def test_a_row_alone_acts_as_in_a_batch_whose_rows_are_out_of_phase(make_agent: MakeAgent) -> None:
    """Bit for bit on the compiled backend; PyTorch's products may round otherwise in a batch."""
    alone, batch = make_agent(horizon=4, execute=3), make_agent(horizon=4, execute=3)
    batch.reset(row_seeds(5, 3))
    batch.act(frame(0, 3))
    batch.reset([9], rows=[1])
    alone.reset([9])
    for t in range(1, 6):
        pictures = frame(t, 3)
        action = alone.act(pictures[1], explore=True)
        together = batch.act(pictures, explore=True)[1]
        np.testing.assert_allclose(together, action, atol=1e-5)
        if batch.settings.backend == "fused":
            assert np.array_equal(together, action)


def test_what_was_executed_moves_the_belief_and_not_the_plan(make_agent: MakeAgent) -> None:
    agent = make(make_agent, "cem", steps=1)
    executed = torch.full((3, 2), 0.25)
    expected, plan = belief_after(agent, executed), planned(agent)
    agent.executed(executed)
    action = agent.act(frame(1, 3))
    torch.testing.assert_close(latent_of(agent).belief, expected)
    assert torch.equal(torch.from_numpy(action), plan.mean[1])
    assert same(planned(agent), plan)


KEPT: dict[str, Callable[[Agent], Agent]] = {
    "pickled": lambda agent: pickle.loads(pickle.dumps(agent)),
    "copied": copy.deepcopy,
    "another latent": lambda agent: setattr(agent, "latent", agent.latent) or agent,
    "the same planner": lambda agent: setattr(agent, "planner", agent.planner) or agent,
    "halves of steps": lambda agent: (agent.plan(), agent)[1],
}


@pytest.mark.parametrize("how", KEPT)
def test_what_a_block_outlives(make_agent: MakeAgent, how: str) -> None:
    expected, agent = (make(make_agent, execute=3, steps=2) for _ in range(2))
    agent = KEPT[how](agent)
    for t in range(2, 5):
        assert np.array_equal(agent.act(frame(t, 3)), expected.act(frame(t, 3)))
    assert same(planned(agent), planned(expected))


def test_new_weights_filter_at_once_and_plan_with_the_next_block(make_agent: MakeAgent) -> None:
    agent = make(make_agent, "cem", steps=1)
    plan = planned(agent)
    learn(agent)
    expected = belief_after(agent, plan.mean[0])
    assert np.array_equal(agent.act(frame(1, 3)), plan.mean[1].numpy())
    torch.testing.assert_close(latent_of(agent).belief, expected)
    seeds = agent._require_reset().frozen().step_seeds()
    agent.act(frame(2, 3))
    imagination = agent.imagination.at(latent_of(agent))
    assert same(planned(agent), agent.planner.plan(imagination, seeds))


def test_another_planner_ends_a_block_and_starts_cold(make_agent: MakeAgent) -> None:
    agent = make(make_agent, execute=3, steps=2)
    agent.planner = replace(agent.planner, horizon=3)  # type: ignore[type-var]
    seeds = agent._require_reset().frozen().step_seeds()
    action = agent.act(frame(2, 3))
    plan = agent.planner.plan(agent.imagination.at(latent_of(agent)), seeds)
    assert same(planned(agent), plan)
    for k in range(1, 3):
        assert np.array_equal(action, plan.kept[k - 1, :, 0].numpy())
        action = agent.act(frame(2 + k, 3))


def test_a_plan_that_is_asked_for_within_a_block_is_cold(make_agent: MakeAgent) -> None:
    agent = make(make_agent, steps=1)
    latent = agent.filter(frame(1, 3))
    seeds = agent._require_reset().frozen().step_seeds()
    assert same(agent.plan(), agent.planner.plan(agent.imagination.at(latent), seeds))


def test_steps_within_a_block_have_no_plan_to_time(make_agent: MakeAgent) -> None:
    agent = make(make_agent, "cem")
    agent.timeline = Timeline()
    stages = []
    for t in range(3):
        agent.act(frame(t, 3))
        stages.append([span.stage for span in agent.timeline.spans])
    whole, within = ["filter", "plan", "explore"], ["filter", "explore"]
    assert [[s for s in each if s in whole] for each in stages] == [whole, within, whole]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"execute": 0}, "execute: expected a value >= 1, got 0"),
        ({"execute": 5}, "execute: expected 1 <= execute <= horizon=4, got 5"),
        ({"execute": True}, "execute: expected an int, got bool"),
        ({"planner": "icem", "keep": 0, "execute": 2}, "output: expected 'mean', or keep >= 1"),
        ({"planner": "mppi", "output": "best", "execute": 2}, "output: expected 'mean', or keep"),
    ],
    ids=str,
)  # fmt: skip
def test_plans_without_so_many_actions_are_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        small_agent(None, horizon=4, **how)
    small_agent(None, horizon=4, **how | {"execute": 1})


def test_another_planner_must_have_so_many_actions_too() -> None:
    agent = small_agent(None, horizon=4, execute=3)
    before = agent.planner
    with pytest.raises(ValueError, match="execute: expected 1 <= execute <= horizon=2, got 3"):
        agent.planner = CEMPlanner(2, 8, 2, 3)
    assert agent.planner is before and agent.execute == 3
