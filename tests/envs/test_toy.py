# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import copy
import pickle

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")

from gymnasium.utils.env_checker import check_env

from planet.envs import make
from planet.envs.toy import ToyReachEnv

RIGHT, DOWN = np.float32([1, 0]), np.float32([0, 1])


def episode(environment, seed, policy):
    frames, rewards = [environment.reset(seed=seed)[0]], []
    while True:
        observation, reward, terminated, truncated, _ = environment.step(policy(environment))
        frames.append(observation)
        rewards.append(reward)
        if terminated or truncated:
            return np.stack(frames), np.array(rewards)


def best_action(environment):
    return np.clip((environment._target - environment._point) / 0.1, -1, 1).astype(np.float32)


def random_action(environment):
    return environment.action_space.sample()


def centroid(frame, colour):
    """Row and column of the pixels nearest to a colour, weighted, in sides."""
    near = np.abs(frame.astype(float) - colour).sum(-1) < 60
    rows, columns = np.nonzero(near)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / len(frame)


@pytest.mark.filterwarnings("error::UserWarning")
def test_passes_gymnasiums_checker():
    check_env(gymnasium.make("planet/ToyReach-v0").unwrapped)
    check_env(make("toy-reach", image_size=16))


def test_make_gives_the_defaults():
    environment = make("toy-reach")
    assert environment.observation_space.shape == (64, 64, 3)
    assert environment.action_space.shape == (2,)
    assert (environment.action_repeat, environment.control_steps) == (1, 50)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_picture_shows_where_both_points_are(size):
    environment = ToyReachEnv(image_size=size)
    frame, _ = environment.reset(seed=3)
    assert frame.shape == (size, size, 3)
    assert np.abs(centroid(frame, (40, 200, 80)) - environment._target).max() < 1 / size
    assert np.abs(centroid(frame, (250, 90, 60)) - environment._point).max() < 1 / size


def test_small_moves_change_the_picture():
    environment = ToyReachEnv(image_size=32)
    before, _ = environment.reset(seed=0)
    after = environment.step(0.1 * RIGHT)[0]  # a third of a pixel
    assert (before != after).any()


def test_first_action_moves_right_and_the_second_down():
    environment = ToyReachEnv()
    environment.reset(seed=0)
    start = environment._point.copy()
    environment.step(0.5 * RIGHT)
    np.testing.assert_allclose(environment._point - start, [0.05, 0.0], atol=1e-9)
    environment.step(0.5 * DOWN)
    np.testing.assert_allclose(environment._point - start, [0.05, 0.05], atol=1e-9)


def test_reward_is_graded_and_one_on_the_target():
    environment = ToyReachEnv()
    _, rewards = episode(environment, 0, best_action)
    assert np.all(np.diff(rewards) >= -1e-12)
    assert rewards[-1] == pytest.approx(1.0)
    assert 0 < rewards[0] < 1


def test_best_policy_is_far_above_random():
    environment = ToyReachEnv()
    environment.action_space.seed(0)
    best = np.mean([episode(environment, seed, best_action)[1].sum() for seed in range(20)])
    random = np.mean([episode(environment, seed, random_action)[1].sum() for seed in range(20)])
    assert best > 45
    assert random < 20


def test_same_seed_gives_the_same_episode():
    first, second = ToyReachEnv(), ToyReachEnv()
    frames = []
    for environment in (first, second, first):
        environment.action_space.seed(5)
        frames.append(episode(environment, 7, random_action))
    for pixels, rewards in frames[1:]:
        np.testing.assert_array_equal(pixels, frames[0][0])
        np.testing.assert_array_equal(rewards, frames[0][1])
    assert (first.reset(seed=8)[0] != frames[0][0][0]).any()


def test_seed_of_the_constructor_starts_the_first_episode_only():
    environment = ToyReachEnv(seed=7)
    first = environment.reset()[0]
    np.testing.assert_array_equal(first, ToyReachEnv().reset(seed=7)[0])
    assert (environment.reset()[0] != first).any()


def test_np_random_decides_and_copies_have_the_same_future():
    first, second = ToyReachEnv(), ToyReachEnv()
    assert (first.reset()[0] != second.reset()[0]).any()
    again = ToyReachEnv()
    np.testing.assert_array_equal(again.reset(seed=first.np_random_seed)[0], first.render())
    first.step(RIGHT)
    for one in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        np.testing.assert_array_equal(one.render(), first.render())
        np.testing.assert_array_equal(one.reset()[0], copy.deepcopy(first).reset()[0])


def test_the_specification_knows_the_length_of_an_episode():
    environment = gymnasium.make("planet/ToyReach-v0", action_repeat=4)
    assert environment.spec.max_episode_steps == 13
    assert make("toy-reach", control_steps=9).spec.max_episode_steps == 9
    small = {"action_repeat": np.uint8(4), "control_steps": np.uint8(200)}
    assert make("toy-reach", **small).spec.max_episode_steps == 50
    environment.reset(seed=0)
    ends = [environment.step(RIGHT)[3] for _ in range(13)]
    assert ends == [False] * 12 + [True]


@pytest.mark.parametrize(("repeat", "steps", "last"), [(1, 50, 1), (4, 13, 2), (50, 1, 50)])
def test_rewards_sum_over_the_repeat_and_the_episode_is_cut_at_its_length(repeat, steps, last):
    single, repeated = ToyReachEnv(), ToyReachEnv(action_repeat=repeat)
    single.reset(seed=2)
    repeated.reset(seed=2)
    action = np.float32([0.3, -0.2])
    for index in range(steps):
        held = last if index == steps - 1 else repeat
        rewards = [single.step(action)[1] for _ in range(held)]
        observation, reward, terminated, truncated, info = repeated.step(action)
        assert reward == pytest.approx(sum(rewards))
        assert not terminated
        assert truncated == (index == steps - 1)
    np.testing.assert_array_equal(observation, single.render())
    assert info == {"reward_sum": reward, "control_steps": 50, "physics_diverged": False}


def test_step_outside_an_episode_is_refused():
    environment = ToyReachEnv(control_steps=1)
    with pytest.raises(RuntimeError, match="call reset first"):
        environment.step(RIGHT)
    environment.reset(seed=0)
    environment.step(RIGHT)
    with pytest.raises(RuntimeError, match="call reset first"):
        environment.step(RIGHT)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.0], r"action: expected shape \[A=2\], got \[1\]"),
        ([[0.0, 0.0]], r"action: expected shape \[A=2\], got \[1, 2\]"),
        ([0.0, np.nan], r"action: expected finite values in \[-1, 1\], got \[0.0, nan\]$"),
        ([0.0, np.inf], r"action: expected finite values in \[-1, 1\], got \[0.0, inf\]$"),
        ([0.0, 1.01], r"action: expected finite values in \[-1, 1\], got \[0.0, 1.01.*ClipAction"),
        (None, r"action: expected numbers \[A=2\], got NoneType"),
        (["a", "b"], r"action: expected numbers \[A=2\], got <U1"),
        (np.zeros(2, complex), r"action: expected numbers \[A=2\], got complex128"),
        ([[1.0], [1.0, 2.0]], r"action: expected numbers \[A=2\], got list"),
    ],
)
def test_wrong_actions_are_refused_by_name(action, message):
    environment = ToyReachEnv()
    environment.reset(seed=0)
    with pytest.raises((TypeError, ValueError), match=message):
        environment.step(action)


@pytest.mark.parametrize("argument", ["image_size", "action_repeat", "control_steps"])
def test_sizes_below_one_are_refused_by_name(argument):
    with pytest.raises(ValueError, match=f"{argument}: expected a value >= 1, got 0"):
        ToyReachEnv(**{argument: 0})


def test_other_render_modes_and_sizes_are_refused_by_name():
    with pytest.raises(ValueError, match="render_mode: expected one of .*, got 'human'"):
        ToyReachEnv(render_mode="human")
    with pytest.raises(ValueError, match="render_size: expected image_size=32 for toy-reach"):
        make("toy-reach", image_size=32, render_size=64)
