"""Policies that know nothing: uniform in the box, or its middle."""

from __future__ import annotations

import numpy as np
import pytest

from planet.acting.baselines import RandomPolicy, ZeroPolicy
from planet.protocols import Policy, Spec

IMAGE = {"image": (np.uint8, (4, 4, 3))}
UNIT = Spec(IMAGE, -np.ones(3, np.float32), np.ones(3, np.float32))
UNEVEN = Spec(IMAGE, np.array([10, -1, 0.5], np.float32), np.array([20, 3, 0.5], np.float32))
ONE, TWO = {"image": np.zeros((4, 4, 3), np.uint8)}, {"image": np.zeros((2, 4, 4, 3), np.uint8)}


@pytest.mark.parametrize("seed", [0, -5, 2**63 - 1])
def test_random_actions_are_uniform_and_decided_by_their_seed(seed: int) -> None:
    policy: Policy = RandomPolicy(UNIT)
    actions = []
    for start in (seed, [seed], seed ^ 1):
        policy.reset(start)
        actions.append(np.stack([policy.act(ONE) for _ in range(500)]))
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])
    assert (actions[0].dtype, actions[0].shape) == (np.float32, (500, 3))
    assert np.abs(actions[0]).max() <= 1
    assert abs(actions[0].std() - 3**-0.5) < 0.05


def test_a_row_draws_what_it_draws_alone_and_restarts_alone() -> None:
    policy, alone = RandomPolicy(UNIT), RandomPolicy(UNIT)
    policy.reset([3, 4])
    alone.reset(4)
    first = [policy.act(TWO) for _ in range(2)]
    np.testing.assert_array_equal([row[1] for row in first], [alone.act(ONE) for _ in range(2)])
    policy.reset([4], rows=[0])
    second = policy.act(TWO)
    np.testing.assert_array_equal(second[0], first[0][1])
    np.testing.assert_array_equal(second[1], alone.act(ONE))


def test_random_actions_fill_the_box_and_those_in_the_unit_box_stay_as_they_were() -> None:
    policy = RandomPolicy(UNEVEN)
    policy.reset(3)
    actions = np.stack([policy.act(ONE) for _ in range(2000)])
    assert (actions >= UNEVEN.low).all() and (actions <= UNEVEN.high).all()
    np.testing.assert_allclose(actions.min(0), UNEVEN.low, atol=0.02)
    np.testing.assert_allclose(actions.max(0), UNEVEN.high, atol=0.02)
    generator, policy = np.random.default_rng(7), RandomPolicy(UNIT)
    policy.reset(7)
    for _ in range(3):
        expected = generator.uniform(-1.0, 1.0, 3).astype(np.float32)
        np.testing.assert_array_equal(policy.act(ONE), expected)


def test_no_action_is_the_middle_of_the_box() -> None:
    policy: Policy = ZeroPolicy(UNEVEN)
    policy.reset()
    assert policy.act(ONE).tolist() == [15, 1, 0.5]
    assert policy.act(TWO).tolist() == [[15, 1, 0.5]] * 2
