"""Actions: what was executed, the box, exploration."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeAgent, belief_after, latent_of, play
from small_models import frame, make_model

from planet.noise import row_seeds

SIZE, A = 8, 2


@pytest.mark.parametrize("stddev", [0.3, 100.0])
def test_act_keeps_the_action_after_noise_and_clipping(
    make_agent: MakeAgent, stddev: float
) -> None:
    agent = make_agent(stddev)
    agent.reset()
    action = agent.act(frame(0), explore=True)
    if stddev == 100.0:
        assert set(np.abs(action)) == {1.0}
    expected = belief_after(agent, torch.from_numpy(action)[None])
    agent.act(frame(1))
    torch.testing.assert_close(latent_of(agent).belief, expected)


def test_executed_overrides_the_action_of_one_step(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    other = np.array([0.25, -0.75], np.float64)
    expected = belief_after(agent, torch.tensor([[0.25, -0.75]]))
    agent.executed(other)
    other[:] = 9  # a copy was kept
    action = agent.act(frame(1))
    torch.testing.assert_close(latent_of(agent).belief, expected)
    expected = belief_after(agent, torch.from_numpy(action)[None])
    agent.act(frame(2))
    torch.testing.assert_close(latent_of(agent).belief, expected)


def test_returned_action_is_a_copy(make_agent: MakeAgent) -> None:
    agents = [make_agent(), make_agent()]
    for agent in agents:
        agent.reset()
        action = agent.act(frame(0))
        if agent is agents[0]:
            action[:] = 9
    assert np.array_equal(agents[0].act(frame(1)), agents[1].act(frame(1)))


def test_first_observation_follows_the_zero_action_from_the_zero_latent(
    make_agent: MakeAgent,
) -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    expected = belief_after(agent, torch.zeros(2, A))
    agent.act(frame(0, 2))
    torch.testing.assert_close(latent_of(agent).belief, expected)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.0], r"action: expected shape \[1, 2\], got \[1, 1\]"),
        ([[0.0, 0.0], [0.0, 0.0]], r"action: expected shape \[1, 2\], got \[2, 2\]"),
        (0.0, r"action: expected shape \[1, 2\], got \[\]"),
        ([np.nan, 0.0], "action: expected finite values"),
        ([np.inf, 0.0], "action: expected finite values"),
        (np.array([1e300, 0.0]), "action: expected finite values"),
        ([[0.0, 0.0], [0.0]], "action: expected rows of one length"),
        (torch.zeros(3, requires_grad=True), r"action: expected shape \[1, 2\], got \[1, 3\]"),
    ],
)
def test_executed_refuses_other_shapes_and_values(
    make_agent: MakeAgent, action: Any, message: str
) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    with pytest.raises(ValueError, match=message):
        agent.executed(action)
    agent.reset(row_seeds(0, 2))
    agent.executed(np.zeros((2, A)))
    with pytest.raises(ValueError, match=r"action: expected shape \[2, 2\], got \[2\]"):
        agent.executed(np.zeros(A))


@pytest.mark.parametrize("stddev", [-0.1, float("nan"), float("inf"), 1e39])
def test_exploration_that_is_negative_or_not_finite_is_refused(
    make_agent: MakeAgent, stddev: float
) -> None:
    agent = make_agent()
    for refused in (make_agent, partial(setattr, agent, "exploration_stddev")):
        with pytest.raises(ValueError, match="exploration_stddev: expected a finite float32 value"):
            refused(stddev)
    assert agent.exploration_stddev == 0.3


@pytest.mark.parametrize("tensors", [False, True])
def test_noise_on_actions_is_in_half_widths_of_the_box(
    make_agent: MakeAgent, tensors: bool
) -> None:
    """A box of four times the width, elsewhere: the same draws, four times as far."""
    model, noises = make_model(), []
    for low, high in ((-1.0, 1.0), (6.0, 14.0)):
        bounds = (
            {"low": [low, -1.0], "high": torch.tensor([[high, 1.0]] * 50)}
            if tensors else {"low": low, "high": high}
        )  # fmt: skip
        agent = make_agent(0.01, model, iterations=1, candidates=3, initial_stddev=0.1, **bounds)
        actions = []
        for explore in (False, True):
            agent.reset(row_seeds(3, 50))
            actions.append(agent.act(frame(0, 50), explore))
        noises.append(actions[1] - actions[0])
    wide = [4.0, 1.0] if tensors else [4.0, 4.0]
    assert np.abs(noises[1] - noises[0] * wide).max() < 1e-5
    assert np.abs(noises[0]).max() > 0.01


@pytest.mark.parametrize("explore", [False, True])
def test_a_masked_action_stays_where_it_is(make_agent: MakeAgent, explore: bool) -> None:
    agent = make_agent(5.0, low=[0.1, -3.0], high=[0.1, 3.0])
    agent.reset(row_seeds(0, 3))
    actions = agent.act(frame(0, 3), explore)
    assert (actions[:, 0] == np.float32(0.1)).all()
    assert len(set(actions[:, 1])) > 1


def test_exploration_noise_has_its_stddev_and_no_bias(make_agent: MakeAgent) -> None:
    rows = 4000
    agent = make_agent(
        0.3e-3, candidates=2, topk=1, iterations=1, low=-1e3, high=1e3, initial_stddev=1e-3
    )  # in units of half the width of the box, so that nothing is clipped
    pictures = np.broadcast_to(frame(0), (rows, SIZE, SIZE, 3))
    actions = {}
    for explore in (False, True):
        agent.reset(row_seeds(3, rows))
        actions[explore] = agent.act(pictures, explore)
    noise = actions[True] - actions[False]
    assert abs(noise.std() - 0.3) < 0.01
    assert abs(noise.mean()) < 0.015
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05  # one normal per dimension


@pytest.mark.parametrize("explore", [False, True])
def test_actions_stay_within_the_planners_bounds(make_agent: MakeAgent, explore: bool) -> None:
    low, high = torch.tensor([-0.5, 0.1]), torch.tensor([-0.25, 0.2])
    agent = make_agent(5.0, low=low, high=high)
    agent.reset(row_seeds(0, 50))
    for t in range(2):
        actions = agent.act(frame(t, 50), explore)
        assert (actions >= low.numpy()).all()
        assert (actions <= high.numpy()).all()


def test_nothing_is_explored_without_asking_or_with_a_stddev_of_zero(make_agent: MakeAgent) -> None:
    plays = []
    for stddev, explore in ((0.0, False), (9.0, False), (0.0, True)):
        agent = make_agent(stddev)
        agent.reset()
        plays.append(play(agent, explore=explore))
    assert plays[0] == plays[1] == plays[2]
