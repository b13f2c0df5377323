"""Batches: rows act by themselves, and restart alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from agents import MakeAgent, belief_after, latent_of
from small_models import frame

from planet.noise import row_seeds

A = 2


def test_shape_of_the_action_follows_the_observation(make_agent: MakeAgent) -> None:
    agent, picture = make_agent(), frame(0)
    agent.reset()
    picture.setflags(write=False)  # as arrays of images are
    single = agent.act(picture)
    assert single.shape == (A,)
    assert single.dtype == np.float32
    agent.reset()
    batched = agent.act(frame(0)[None])
    assert batched.shape == (1, A)
    assert np.array_equal(batched[0], single)
    agent.reset(row_seeds(0, 3))
    assert agent.batch_size == 3
    actions = agent.act(frame(0, 3))
    assert actions.shape == (3, A)
    assert actions.dtype == np.float32


def test_change_of_batch_size_needs_a_reset(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2))
    for observation in (frame(0), frame(0, 1), frame(0, 3)):
        with pytest.raises(ValueError, match=r"expected batch size 2 .* got [13]; call reset\("):
            agent.act(observation)
    agent.act(frame(1, 2))  # still usable
    agent.reset(row_seeds(0, 3))
    agent.act(frame(0, 3))


def test_rows_of_a_batch_act_by_themselves(make_agent: MakeAgent) -> None:
    """Other pictures in the other rows change nothing, bit for bit."""
    first, second = make_agent(), make_agent()
    for agent in (first, second):
        agent.reset(row_seeds(5, 3))
    for t in range(3):
        pictures = frame(t, 3)
        others = frame(100 + t, 3)
        others[1] = pictures[1]
        left = first.act(pictures, explore=True)
        right = second.act(others, explore=True)
        assert np.array_equal(left[1], right[1])
        states = [latent_of(agent).state for agent in (first, second)]
        assert torch.equal(states[0][1], states[1][1])
        assert not torch.equal(states[0][0], states[1][0])


def test_row_zero_of_a_batch_is_the_batch_of_one(make_agent: MakeAgent) -> None:
    """Row 0 has the same seed whatever the batch size; results agree up to rounding."""
    batch, single = make_agent(), make_agent()
    batch.reset(row_seeds(5, 2))
    single.reset(5)
    for t in range(3):
        pictures = frame(t, 2)
        np.testing.assert_allclose(
            batch.act(pictures, True)[0], single.act(pictures[0], True), atol=1e-5
        )


def test_rows_draw_different_noise(make_agent: MakeAgent) -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    same = np.stack([frame(0), frame(0)])
    actions = agent.act(same)
    assert not np.array_equal(actions[0], actions[1])


def test_reset_of_rows_restarts_them_and_leaves_the_others_alone(make_agent: MakeAgent) -> None:
    agent, undisturbed = make_agent(), make_agent()
    for each in (agent, undisturbed):
        each.reset(row_seeds(5, 3))
        for t in range(2):
            each.act(frame(t, 3), explore=True)
    agent.reset(rows=[1])
    assert not latent_of(agent).features[1].any()
    action = agent._require_reset().action * torch.tensor([[1.0], [0.0], [1.0]])
    expected = belief_after(agent, action)
    left, right = agent.act(frame(2, 3), explore=True), undisturbed.act(frame(2, 3), explore=True)
    torch.testing.assert_close(latent_of(agent).belief, expected)
    for row in (0, 2):  # bit for bit
        assert np.array_equal(left[row], right[row])
        assert torch.equal(latent_of(agent).state[row], latent_of(undisturbed).state[row])
    assert not np.array_equal(left[1], right[1])
    assert agent.batch_size == 3


def test_restarted_row_is_the_same_whatever_happened_before(make_agent: MakeAgent) -> None:
    """A row's seed alone decides its episode, not the length of the one before."""
    actions = []
    for steps in (1, 3):
        agent = make_agent()
        agent.reset(row_seeds(5, 2))
        for t in range(steps):
            agent.act(frame(t, 2))
        agent.reset(rows=[0])
        actions.append(agent.act(frame(50, 2))[0])
    assert np.array_equal(actions[0], actions[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [2]}, r"rows: expected values in \[0, 2\), got \[2"),
        ({"rows": [0, -1]}, r"rows: expected values in \[0, 2\), got \[-1"),
        ({"rows": [1, 1]}, r"rows: expected each row once, got \[1, 1\]"),
        ({"seeds": [5], "rows": [0, 1]}, "seeds: expected one for each of 2 rows, got 1"),
        ({"seeds": []}, "seeds: expected at least one, got none"),
        ({"seeds": [0, None]}, "seed: expected an int, got NoneType"),
    ],
)
def test_reset_refuses_rows_and_seeds_that_do_not_fit(
    make_agent: MakeAgent, arguments: dict[str, Any], message: str
) -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    with pytest.raises((TypeError, ValueError), match=message):
        agent.reset(**arguments)


def test_numpy_s_numbers_are_taken(make_agent: MakeAgent) -> None:
    plain, agent = make_agent(0.5), make_agent(np.float32(0.5))  # type: ignore[arg-type]
    plain.reset(row_seeds(3, 2))
    agent.reset(row_seeds(np.uint8(3), np.int64(2)))  # type: ignore[arg-type]
    for one in (plain, agent):
        one.act(frame(0, 2), explore=True)
        one.reset(rows=[1] if one is plain else np.flatnonzero([False, True]))  # type: ignore[arg-type]
    assert np.array_equal(plain.act(frame(1, 2), True), agent.act(frame(1, 2), True))
    with pytest.raises(TypeError, match="rows: expected an int, got bool"):
        agent.reset(rows=[False, True])
    with pytest.raises(TypeError, match="rows: expected a sequence of ints, got int"):
        agent.reset(rows=1)  # type: ignore[arg-type]
