"""The agent: repeatable, plans with its newest snapshot, and refuses what it cannot use."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeAgent, latent_of, play
from conftest import EACH_BACKEND
from learners import learner_of, replay
from small_models import frame, make_model

from planet.config import TrainConfig
from planet.latent import LatentState
from planet.noise import row_seeds
from planet.ops.kernels import CpuKernels
from planet.planning import Imagination
from planet.protocols import Chunk

A = 2


@pytest.mark.parametrize("explore", [False, True])
def test_same_seed_and_observations_give_the_same_actions(
    make_agent: MakeAgent, explore: bool
) -> None:
    first, second, other = make_agent(), make_agent(), make_agent()
    first.reset(7)
    second.reset(7)
    other.reset(8)
    actions = play(first, explore=explore)
    torch.manual_seed(99)  # the global generator has no part in it
    assert play(second, explore=explore) == actions
    assert play(other, explore=explore) != actions
    first.reset(7)  # after an episode as well
    assert play(first, explore=explore) == actions


def test_other_observations_give_other_actions(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset()
    first = agent.act(frame(0))
    agent.reset()
    assert not np.array_equal(agent.act(frame(1)), first)


def test_an_observation_is_a_table_or_its_image_alone(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset(7)
    expected = play(agent)
    agent.reset(7)
    noted = {"image": frame(0), "position": np.zeros(3)}  # more than it knows
    assert np.array_equal(agent.act(noted), expected[0])


def test_steps_and_episodes_draw_their_own_noise(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    first = latent_of(agent).state.clone()
    agent.reset(1)  # same start, same picture, another episode
    agent.act(frame(0))
    assert not torch.equal(latent_of(agent).state, first)


def test_all_63_bit_seeds_are_taken_and_others_refused(make_agent: MakeAgent) -> None:
    agent = make_agent()
    for seed in (0, -(2**63), 2**64 - 1):
        agent.reset(seed)
    with pytest.raises(ValueError, match="seed: expected a value in"):
        agent.reset(2**64)
    with pytest.raises(TypeError, match="seed: expected an int, got float"):
        agent.reset(1.0)  # type: ignore[arg-type]


def test_a_pickle_goes_on_as_the_agent_does(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    twins = [pickle.loads(pickle.dumps(agent)), copy.deepcopy(agent)]
    expected = play(agent)
    assert [play(twin) for twin in twins] == [expected] * 2


def test_everything_needs_a_reset_first(make_agent: MakeAgent) -> None:
    agent = make_agent()
    assert agent.batch_size == 0
    calls = (
        lambda: agent.act(frame(0)),
        lambda: agent.executed(np.zeros(A)),
        lambda: agent.filter(frame(0)),
        lambda: agent.plan(),
        lambda: agent.reset(rows=[0]),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match=r"call reset\(\) before the first observation"):
            call()


@pytest.mark.parametrize(
    ("observation", "error", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), TypeError, "expected dtype uint8, got float32"),
        (np.zeros((8, 8, 3), np.int64), TypeError, "expected dtype uint8, got int64"),
        (np.zeros((16, 16, 3), np.uint8), ValueError, r"\[8, 8, 3\].*got \[16, 16, 3\]"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"got \[3, 8, 8\]"),
        (np.zeros((8, 8), np.uint8), ValueError, r"got \[8, 8\]"),
        (np.zeros((1, 1, 8, 8, 3), np.uint8), ValueError, r"got \[1, 1, 8, 8, 3\]"),
        (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "batch size 1 .* got 0"),
        (np.uint8(3), ValueError, r"got \[\]"),
        ((np.zeros((8, 8, 3), np.uint8), {}), TypeError, "an array on the host, got tuple"),
        (torch.zeros(8, 8, 3, requires_grad=True), TypeError, "on the host, got Tensor"),
        ({"pixels": np.zeros((8, 8, 3))}, ValueError, r"an array 'image', got \['pixels'\]"),
    ],
)
def test_other_observations_are_refused(
    make_agent: MakeAgent, observation: Any, error: type[Exception], message: str
) -> None:
    agent = make_agent()
    agent.reset()
    with pytest.raises(error, match=f"^observation: .*{message}"):
        agent.act(observation)
    agent.act(frame(0))  # still usable


def test_pictures_with_other_strides_are_taken(make_agent: MakeAgent) -> None:
    flipped = frame(0)[:, ::-1]  # a view that torch cannot wrap
    actions = []
    for observation in (flipped, flipped.copy()):
        agent = make_agent()
        agent.reset()
        actions.append(agent.act(observation).tolist())
    assert actions[0] == actions[1]


@EACH_BACKEND
def test_agent_plans_with_the_weights_of_the_newest_training_phase(
    make_agent: MakeAgent, backend: str
) -> None:
    """Two phases of gradient steps; after each snapshot the plan is that of the new parameters."""
    model = make_model()
    agent = make_agent(model=model, backend=backend)
    learner = learner_of(model, TrainConfig(learning_rate=0.05))
    image, ended = torch.from_numpy(frame(1, 4, 2)), torch.zeros(4, 2, dtype=torch.bool)
    chunk = Chunk({"image": image}, torch.zeros(4, 2, A), torch.ones(4, 2), ended)
    agent.reset()
    agent.filter(frame(0))
    latent, seeds = latent_of(agent), agent._require_reset().frozen().step_seeds()
    means = [agent.plan().mean]
    for _ in range(2):
        learner.update(replay(chunk))
        assert torch.equal(agent.plan().mean, means[-1])  # still the old snapshot
        agent.update_weights()
        means.append(agent.plan().mean)
        now = Imagination(model.rollout_weights(), latent, backend=agent.imagination.backend)
        fresh = agent.planner.plan(now, seeds)
        assert torch.equal(means[-1], fresh.mean)
    assert not torch.equal(means[0], means[1])
    assert not torch.equal(means[1], means[2])
    held = agent.weights
    agent.reset()
    assert agent.weights is held  # an episode takes no snapshot


@pytest.mark.parametrize("error", [ValueError("no kernel"), KeyboardInterrupt()])
def test_error_while_planning_leaves_the_agent_as_it_was(
    make_agent: MakeAgent, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, agent = make_agent(), make_agent()
    undisturbed.reset(7)
    expected = play(undisturbed, explore=True)

    def fail(*arguments: Any, **settings: Any) -> None:
        raise error

    def fail_late(kernels: CpuKernels, op: str, *arguments: object) -> Any:
        made = call(kernels, op, *arguments)
        if op == "control_step":
            raise error
        return made

    call = CpuKernels.call
    agent.reset(7)
    agent.act(frame(0), explore=True)
    latent, planned = agent.latent, agent.planned
    with monkeypatch.context() as patch:
        patch.setattr("planet.planning.SamplingPlanner.plan", fail)
        patch.setattr(CpuKernels, "call", fail_late)
        with pytest.raises(type(error)):
            agent.act(frame(1), explore=True)
    assert agent.latent is latent
    assert agent.planned is planned
    assert [agent.act(frame(t), explore=True).tolist() for t in range(1, 4)] == expected[1:]


def test_a_latent_that_was_assigned_is_the_caller_s_again(make_agent: MakeAgent) -> None:
    agents = [make_agent() for _ in range(2)]
    for agent in agents:
        agent.reset(1)
        agent.act(frame(0))
        mine = LatentState(latent_of(agent).belief * 0.5, latent_of(agent).state.clone())
        agent.latent = mine
        if agent is agents[0]:
            mine.belief.fill_(9.0)
    assert play(agents[0]) == play(agents[1])


def test_agent_says_how_many_iterations_it_planned(make_agent: MakeAgent) -> None:
    agent = make_agent(iterations=3)
    assert agent.planned is None
    agent.reset()
    agent.act(frame(0))
    assert agent.planned is not None
    assert agent.planned.iterations == 3
    hurried = make_agent(iterations=3, budget_ms=1e-6)
    hurried.reset()
    hurried.act(frame(0))
    assert hurried.planned is not None
    assert hurried.planned.iterations == 1
    plan = hurried.plan()
    assert hurried.planned is plan


def test_acting_leaves_no_gradients(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0), explore=True)
    assert not latent_of(agent).features.requires_grad
    assert all(parameter.grad is None for parameter in agent.world_model.parameters())


def test_filter_and_plan_are_the_halves_of_act(make_agent: MakeAgent) -> None:
    whole, halves = make_agent(), make_agent()
    for agent in (whole, halves):
        agent.reset(row_seeds(4, 2))
    action = whole.act(frame(0, 2))
    latent = halves.filter(frame(0, 2))
    assert halves.latent is latent
    assert torch.equal(latent.features, latent_of(whole).features)
    assert np.array_equal(halves.plan().action.numpy(), action)
