"""Seeds, generators and copies decide which episode comes; the suite's own beside it."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import copy
import pickle

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")
pytest.importorskip("dm_control", reason="needs the train extra")

from planet.envs.tasks import split_task

pytestmark = pytest.mark.usefixtures("opengl")

VARIED_TASKS = [
    "reacher-easy",  # moves its target in the model
    "cheetah-run",
    "ball_in_cup-catch",
    "stacker-stack_2",  # draws random starts until one fits
    "quadruped-escape",  # makes a new terrain
]


def play(environment, steps, seed=0):
    """Frames, rewards and states of random actions from a seed."""
    random = np.random.default_rng(seed)
    frames, rewards = [environment.reset(seed=seed)[0]], []
    states = [environment.physics.get_state().copy()]
    for _ in range(steps):
        action = random.uniform(-1, 1, environment.action_space.shape).astype(np.float32)
        observation, reward, *_ = environment.step(action)
        frames.append(observation)
        rewards.append(reward)
        states.append(environment.physics.get_state().copy())
    return np.stack(frames), np.array(rewards), np.stack(states)


def test_without_any_seed_every_environment_starts_another_episode(open_environment):
    first, second = open_environment("walker-walk"), open_environment("walker-walk")
    frames = [e.reset()[0].tobytes() for e in (first, second, first, second)]
    assert len(set(frames)) == 4
    vector = gymnasium.make_vec("planet/WalkerWalk-v0", 2, image_size=16, quality="fast")
    one, other = vector.reset()[0]
    assert (one != other).any()
    vector.close()


def test_np_random_decides_the_episodes(open_environment):
    """Its seed, a generator that was set, and its present state repeat all that follows."""
    first, second = open_environment("reacher-easy"), open_environment("reacher-easy")
    episodes = [first.reset()[0] for _ in range(3)]
    np.testing.assert_array_equal(second.reset(seed=first.np_random_seed)[0], episodes[0])
    np.testing.assert_array_equal(second.reset()[0], episodes[1])
    second.np_random = copy.deepcopy(first.np_random)
    np.testing.assert_array_equal(second.reset()[0], first.reset()[0])
    frames = []
    for environment in (first, gymnasium.wrappers.TimeLimit(second, 9)):
        environment.np_random = np.random.default_rng(7)
        frames.append([environment.reset()[0] for _ in range(2)])
    np.testing.assert_array_equal(*frames)
    np.testing.assert_array_equal(first.reset(seed=7)[0], frames[0][0])
    assert (frames[0][0] != frames[0][1]).any()
    read_first = open_environment("reacher-easy")
    seed = read_first.np_random_seed
    np.testing.assert_array_equal(read_first.reset()[0], first.reset(seed=seed)[0])


@pytest.mark.parametrize("seed", [np.int64(5), np.uint8(5)])
def test_seeds_of_numpy_are_taken(open_environment, seed):
    environment = open_environment(seed=seed)
    expected = environment.reset()[0]
    np.testing.assert_array_equal(environment.reset(seed=seed)[0], expected)
    np.testing.assert_array_equal(environment.reset(seed=5)[0], expected)


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, "seed: expected a value >= 0, got -1"),
        (1.0, TypeError, "seed: expected an int, got float"),
        ("1", TypeError, "seed: expected an int, got str"),
        (True, TypeError, "seed: expected an int, got bool"),
    ],
)
def test_wrong_seeds_are_refused_by_name(open_environment, seed, error, message):
    with pytest.raises(error, match=message):
        open_environment().reset(seed=seed)
    with pytest.raises(error, match=message):
        open_environment(seed=seed)


def copies(environment):
    return [copy.deepcopy(environment), pickle.loads(pickle.dumps(environment))]


@pytest.mark.parametrize("task", [*VARIED_TASKS, "humanoid-run"])
def test_a_copy_has_the_same_future(open_environment, task):
    """Frames, rewards and states of this episode and the next, while the original lives on."""
    environment = gymnasium.wrappers.TimeLimit(open_environment(task, control_steps=100), 99)
    environment.reset(seed=1)
    random = np.random.default_rng(0)
    actions = random.uniform(-1, 1, (7, *environment.action_space.shape))
    for action in actions[:3]:
        environment.step(action)
    futures = []
    for one in (environment, *copies(environment)):
        future = [one.render()]
        for index in range(2):
            for action in actions[3:]:
                observation, reward, *_, info = one.step(action)
                future += [observation, reward, one.unwrapped.physics.get_state(), info]
            if index == 0:
                future.append(one.reset()[0])
        futures.append(future)
        if one is not environment:
            one.close()
    for future in futures[1:]:
        for mine, theirs in zip(futures[0], future, strict=True):
            np.testing.assert_equal(theirs, mine)


def test_copies_are_made_before_the_first_episode_and_after_the_end(open_environment):
    environment = open_environment(seed=3)
    early = copies(environment)
    expected = environment.reset()[0]
    for one in early:
        np.testing.assert_array_equal(one.reset()[0], expected)
        one.close()
    environment.close()
    for one in copies(environment):
        with pytest.raises(RuntimeError, match="reset: expected an open environment"):
            one.reset()
        one.close()


@pytest.mark.parametrize("task", VARIED_TASKS)
def test_same_seed_gives_the_same_states_rewards_and_pixels(open_environment, task):
    first, second = open_environment(task), open_environment(task, seed=99)
    expected = play(first, 3)
    play(second, 1, seed=4)  # another episode before, and another seed of the constructor
    for found in (play(second, 3), play(first, 3)):
        for array, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(array, other)


def test_different_seeds_give_different_episodes(open_environment):
    environment = open_environment()
    assert (play(environment, 0, seed=0)[0] != play(environment, 0, seed=1)[0]).any()
    large = play(environment, 0, seed=2**40 + 1)[0]
    assert (play(environment, 0, seed=1)[0] != large).any()


def test_seed_of_the_constructor_starts_the_first_episode_only(open_environment):
    first = open_environment(seed=5).reset()[0]
    second = open_environment()
    np.testing.assert_array_equal(second.reset(seed=5)[0], first)
    assert (second.reset()[0] != first).any()


@pytest.mark.parametrize("task", ["cheetah-run", "walker-walk", "finger-spin"])
def test_rewards_and_states_are_the_suites_own_summed_over_the_repeat(open_environment, task):
    from dm_control import suite

    environment = open_environment(task)
    _, rewards, states = play(environment, 20, seed=3)
    theirs = suite.load(*split_task(task), task_kwargs={"random": 3})
    theirs.reset()
    random = np.random.default_rng(3)
    for index in range(20):
        action = random.uniform(-1, 1, environment.action_space.shape).astype(np.float32)
        held = [theirs.step(action).reward for _ in range(environment.action_repeat)]
        assert rewards[index] == sum(held)
        np.testing.assert_array_equal(states[index + 1], theirs.physics.get_state())
