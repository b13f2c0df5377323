"""Episodes: the time convention, the policies, and what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from planet.training.action_box import ActionBox
from planet.training.collect import random_policy, run_episode, zero_policy


class Box:
    """The part of `gymnasium.spaces.Box` that collection reads."""

    def __init__(self, low: Any, high: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)
        self.shape, self.dtype = shape, np.dtype(dtype)


class Counting:
    """Frame t is filled with t; the reward on arrival at t is 10 t; ends after `steps` steps."""

    action_space = Box(-1, 1, (2,), np.float32)
    observation_space = Box(0, 255, (4, 4, 3), np.uint8)

    def __init__(self, steps: int = 3, ends_itself: bool = False, diverges: bool = False) -> None:
        self.steps, self.ends_itself, self.diverges = steps, ends_itself, diverges
        self.seeds: list[int | None] = []
        self.actions: list[Any] = []

    def _frame(self) -> npt.NDArray[np.uint8]:
        return np.full((4, 4, 3), self.time, np.uint8)

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        self.time = 0
        return self._frame(), {}

    def step(self, action: Any, /) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.time += 1
        self.actions.append(action)
        end = self.time == self.steps
        info = {"physics_diverged": True} if end and self.diverges else {}
        return self._frame(), 10 * self.time, end and self.ends_itself, end, info


def seen_frame(observation: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """An action that tells which frame it answers: frame k gives 0.1 (k + 1)."""
    return np.full(2, 0.1 * (observation[0, 0, 0] + 1), np.float32)


def test_index_t_holds_the_action_that_led_to_observation_t() -> None:
    episode = run_episode(Counting(), seen_frame, seed=4)
    assert episode.length == 4
    assert episode.observation[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    # Index 0 is the reset frame; the answer to frame 0 stands with frame 1.
    np.testing.assert_allclose(episode.action[:, 0], [0.0, 0.1, 0.2, 0.3])
    assert episode.reward.tolist() == [0, 10, 20, 30]
    assert episode.total_reward == 60


def test_seed_reaches_the_environment_and_the_episode() -> None:
    environment = Counting()
    episode = run_episode(environment, seen_frame, seed=41, metadata={"task": "count"})
    assert environment.seeds == [41]
    assert episode.metadata == {"seed": 41, "task": "count", "environment_steps": 3}


@pytest.mark.parametrize("ends_itself", [True, False])
def test_termination_is_kept_apart_from_running_out_of_time(ends_itself: bool) -> None:
    assert run_episode(Counting(2, ends_itself), seen_frame, 0).terminated is ends_itself


def test_diverged_physics_is_noted() -> None:
    metadata = run_episode(Counting(diverges=True), seen_frame, 0).metadata
    assert metadata["physics_diverged"] is True


def test_on_step_is_told_the_reward_so_far() -> None:
    totals: list[float] = []
    run_episode(Counting(), seen_frame, 0, on_step=totals.append)
    assert totals == [10, 30, 60]


def test_the_environment_gets_the_policys_action() -> None:
    environment = Counting()
    episode = run_episode(environment, random_policy(ActionBox.unit(2), 5), 0)
    np.testing.assert_array_equal(np.stack(environment.actions), episode.action[1:])


def test_frames_that_the_environment_reuses_are_kept_apart() -> None:
    class Reusing(Counting):
        buffer = np.zeros((4, 4, 3), np.uint8)

        def _frame(self) -> npt.NDArray[np.uint8]:
            self.buffer[:] = self.time
            return self.buffer

    episode = run_episode(Reusing(), seen_frame, 0)
    assert episode.observation[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_actions_that_the_policy_reuses_are_kept_apart() -> None:
    buffer = np.zeros(2, np.float32)

    def policy(observation: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        buffer[:] = 0.1 * (observation[0, 0, 0] + 1)
        return buffer

    episode = run_episode(Counting(), policy, 0)
    np.testing.assert_allclose(episode.action[:, 0], [0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("seed", [0, -5, 2**63 - 1])
def test_random_policy_is_uniform_and_decided_by_its_seed(seed: int) -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    policies = [random_policy(ActionBox.unit(3), s) for s in (seed, seed, seed ^ 1)]
    actions = [np.stack([policy(frame) for _ in range(500)]) for policy in policies]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[0], actions[2])
    assert actions[0].dtype == np.float32
    assert actions[0].shape == (500, 3)
    assert np.abs(actions[0]).max() <= 1
    assert abs(actions[0].std() - 3**-0.5) < 0.05


def test_zero_policy_does_nothing() -> None:
    action = zero_policy(ActionBox.unit(3))(np.zeros((4, 4, 3), np.uint8))
    assert action.dtype == np.float32
    assert action.tolist() == [0, 0, 0]
