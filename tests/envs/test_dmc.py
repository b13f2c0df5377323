# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import copy
import logging
import pickle

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")
pytest.importorskip("dm_control", reason="needs the train extra")

from gymnasium.utils.env_checker import check_env

from planet.envs import make, task_names
from planet.envs.dmc import START_STATES, area_average
from planet.envs.tasks import ACTION_REPEAT, split_task

pytestmark = pytest.mark.usefixtures("opengl")

CONTROL_TASKS = [name for name in task_names() if name != "toy-reach"]
# A domain's tasks share the model, and with it the spaces, the picture and the action repeat.
EACH_DOMAIN = list({split_task(name)[0]: name for name in CONTROL_TASKS}.values())
VARIED_TASKS = [
    "reacher-easy",  # moves its target in the model
    "cheetah-run",
    "ball_in_cup-catch",
    "stacker-stack_2",  # draws random starts until one fits
    "quadruped-escape",  # makes a new terrain
]


@pytest.fixture
def open_environment():
    """Makes environments with small, cheap frames, closed at the end of the test."""
    made = []

    def open_environment(task="cheetah-run", **settings):
        settings = {"image_size": 16, "quality": "fast", **settings}
        made.append(make(task, **settings))
        return made[-1]

    yield open_environment
    for environment in made:
        environment.close()


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


@pytest.mark.parametrize("task", EACH_DOMAIN)
def test_contract(open_environment, task):
    environment = open_environment(task)
    assert isinstance(environment, gymnasium.Env)
    assert environment.observation_space == gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)
    space = environment.action_space
    assert space == gymnasium.spaces.Box(-1.0, 1.0, space.shape, np.float32)
    assert environment.action_repeat == ACTION_REPEAT.get(split_task(task)[0], 2)
    observation, info = environment.reset(seed=1)
    assert observation.dtype == np.uint8 and observation in environment.observation_space
    assert observation.std() > 1  # not one colour
    assert info == {"reward_sum": 0.0, "control_steps": 0, "physics_diverged": False}
    space.seed(0)
    following, reward, terminated, truncated, info = environment.step(space.sample())
    assert following in environment.observation_space
    assert following is not observation
    assert isinstance(reward, float)
    assert 0.0 <= reward <= environment.action_repeat
    assert (terminated, truncated) == (False, False)
    assert info["reward_sum"] == reward
    assert info["control_steps"] == environment.action_repeat


@pytest.mark.filterwarnings("error::UserWarning")
def test_passes_gymnasiums_checker(open_environment):
    registered = gymnasium.make("planet/CheetahRun-v0", image_size=16, quality="fast")
    check_env(registered.unwrapped)
    registered.close()
    check_env(open_environment("ball_in_cup-catch"))


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


def failing(environment, monkeypatch, times, how):
    """Lets the physics refuse so many start states; returns the states that were tried."""
    from dm_control.rl.control import PhysicsError

    task, tried = environment._control.task, []
    initialize = task.initialize_episode

    def initialize_episode(physics):
        initialize(physics)
        tried.append(physics.data.qpos.copy())
        if len(tried) <= times:
            if how == "error":
                raise PhysicsError("mjWARN_BADQACC")
            physics.data.qpos[0] = np.nan

    monkeypatch.setattr(task, "initialize_episode", initialize_episode)
    return tried


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("how", ["error", "not finite"])
def test_a_start_state_that_fails_is_followed_by_the_next(
    open_environment, monkeypatch, caplog, how
):
    starts = []
    for _ in range(2):
        environment = open_environment("walker-walk")
        tried = failing(environment, monkeypatch, 2, how)
        frame, info = environment.reset(seed=5)
        assert len(tried) == 3 and not info["physics_diverged"]
        assert (tried[0] != tried[1]).any()
        starts.append((frame, environment.physics.get_state()))
        assert not environment.step(np.zeros(6))[3]
    np.testing.assert_equal(starts[0], starts[1])
    assert "walker-walk: a start state is left out" in caplog.text


def test_a_task_without_any_start_state_is_an_error_after_so_many(open_environment, monkeypatch):
    environment = open_environment("walker-walk")
    environment.reset(seed=0)
    tried = failing(environment, monkeypatch, 10**9, "error")
    with pytest.raises(RuntimeError, match=f"walker-walk.*{START_STATES}.*np_random_seed=5"):
        environment.reset(seed=5)
    assert len(tried) == START_STATES
    with pytest.raises(RuntimeError, match="step: expected a running episode"):
        environment.step(np.zeros(6))


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, 500), ({"action_repeat": 3}, 334), ({"action_repeat": 1, "control_steps": 7}, 7)],
)
def test_the_specification_knows_the_length_of_an_episode(open_environment, settings, steps):
    registered = gymnasium.make("planet/WalkerWalk-v0", image_size=16, quality="fast", **settings)
    made = open_environment("walker-walk", **settings)
    again = gymnasium.make(made.spec)
    for environment in (registered, made, again):
        assert environment.spec.max_episode_steps == steps
        assert environment.spec.id == "planet/WalkerWalk-v0"
        if steps == 7:
            environment.reset(seed=0)
            ends = [environment.step(np.zeros(6, np.float32))[2:] for _ in range(7)]
            assert [truncated for _, truncated, _ in ends] == [False] * 6 + [True]
            assert not ends[-1][0] and ends[-1][2]["control_steps"] == 7
    registered.close()
    again.close()


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


@pytest.mark.parametrize(
    ("task", "repeat", "steps", "last"),
    [("cartpole-swingup", 8, 125, 8), ("pendulum-swingup", 3, 334, 1)],
)
def test_episode_is_truncated_after_exactly_1000_control_steps(
    open_environment, task, repeat, steps, last
):
    environment = open_environment(task, action_repeat=repeat)
    environment.reset(seed=0)
    time = environment.physics.time()
    period = environment._control.control_timestep()
    action = np.zeros(environment.action_space.shape, np.float32)
    ends = []
    for _ in range(steps):
        *_, terminated, truncated, info = environment.step(action)
        assert not terminated
        ends.append(truncated)
    assert ends == [False] * (steps - 1) + [True]
    assert info["control_steps"] == 1000
    assert (environment.physics.time() - time) / period == pytest.approx(1000)
    assert 1000 - (steps - 1) * repeat == last
    with pytest.raises(RuntimeError, match="step: expected a running episode; call reset first"):
        environment.step(action)
    assert environment.reset()[1]["control_steps"] == 0


def test_control_steps_shorten_the_episode(open_environment):
    environment = open_environment(control_steps=10)  # cheetah: repeat 4, so 4 + 4 + 2
    environment.reset(seed=0)
    action = np.zeros(6, np.float32)
    assert [environment.step(action)[3] for _ in range(3)] == [False, False, True]


def test_a_task_that_ends_itself_terminates(open_environment, monkeypatch):
    environment = open_environment()
    environment.reset(seed=0)
    calls = []
    monkeypatch.setattr(
        environment._control.task,
        "get_termination",
        lambda physics: calls.append(1) or (0.0 if len(calls) == 6 else None),
    )
    action = np.zeros(6, np.float32)
    assert environment.step(action)[2:4] == (False, False)
    *_, terminated, truncated, info = environment.step(action)
    assert (terminated, truncated) == (True, False)
    assert info["control_steps"] == 6


def test_a_task_that_stops_without_discount_is_truncated(open_environment, monkeypatch):
    environment = open_environment()
    environment.reset(seed=0)
    monkeypatch.setattr(environment._control.task, "get_termination", lambda physics: 1.0)
    *_, terminated, truncated, info = environment.step(np.zeros(6, np.float32))
    assert (terminated, truncated, info["control_steps"]) == (False, True, 1)


@pytest.mark.filterwarnings("ignore")
def test_diverged_physics_truncates_with_a_finite_reward_and_the_last_frame(open_environment):
    environment = open_environment()
    before = environment.reset(seed=0)[0]
    environment.physics.data.qvel[:] = np.nan
    observation, reward, terminated, truncated, info = environment.step(np.zeros(6, np.float32))
    assert (terminated, truncated, info["physics_diverged"]) == (False, True, True)
    assert np.isfinite(reward)
    np.testing.assert_array_equal(observation, before)
    again, info = environment.reset(seed=0)
    assert not info["physics_diverged"]
    np.testing.assert_array_equal(again, before)


def test_a_reward_that_is_not_finite_counts_as_diverged(open_environment, monkeypatch):
    environment = open_environment()
    environment.reset(seed=0)
    monkeypatch.setattr(environment._control.task, "get_reward", lambda physics: float("nan"))
    _, reward, _, truncated, info = environment.step(np.zeros(6, np.float32))
    assert (reward, truncated, info["physics_diverged"]) == (0.0, True, True)


def test_actions_are_scaled_to_the_bounds_of_the_task(open_environment):
    environment = open_environment("quadruped-walk", action_repeat=1)  # bounds such as [-1, 1.1]
    spec = environment._control.action_spec()
    assert spec.maximum.max() > 1
    environment.reset(seed=0)
    for value, expected in (
        (-1.0, spec.minimum),
        (1.0, spec.maximum),
        (0.0, (spec.minimum + spec.maximum) / 2),
    ):
        environment.step(np.full(12, value, np.float32))
        np.testing.assert_allclose(environment.physics.data.ctrl, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(5), r"action: expected shape \[A=6\], got \[5\]"),
        (np.zeros((1, 6)), r"action: expected shape \[A=6\], got \[1, 6\]"),
        (np.full(6, np.inf), r"action: expected finite values in \[-1, 1\], got \[inf"),
        (np.full(6, 1.01), r"action: expected finite values in \[-1, 1\], got \[1.01.*ClipAction"),
        (np.full(6, np.nan), r"action: expected finite values in \[-1, 1\], got \[nan"),
        (None, r"action: expected numbers \[A=6\], got NoneType"),
        (["a"] * 6, r"action: expected numbers \[A=6\], got <U1"),
        (np.zeros(6, complex), r"action: expected numbers \[A=6\], got complex128"),
        ([[1.0], [1.0, 2.0]], r"action: expected numbers \[A=6\], got list"),
    ],
)
def test_wrong_actions_are_refused_by_name(open_environment, action, message):
    environment = open_environment()
    environment.reset(seed=0)
    with pytest.raises((TypeError, ValueError), match=message):
        environment.step(action)


def test_lists_and_other_dtypes_are_taken_as_actions(open_environment):
    environment = open_environment()
    frames = []
    for action in ([0.5] * 6, (0.5,) * 6, np.full(6, 0.5), np.full(6, 0.5, np.float16)):
        environment.reset(seed=0)
        frames.append(environment.step(action)[0])
    assert all((frame == frames[0]).all() for frame in frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"action_repeat": 0}, "action_repeat: expected a value >= 1, got 0"),
        ({"image_size": 0}, "image_size: expected a value >= 1, got 0"),
        ({"control_steps": 0}, "control_steps: expected a value >= 1, got 0"),
        ({"render_size": 8}, "render_size: expected a multiple of image_size=16, got 8"),
        ({"render_size": 17008}, "render_size: expected a value <= 16384, got 17008"),
        ({"image_size": 16385}, "image_size: expected a value <= 16384, got 16385"),
        ({"render_size": 40}, "render_size: expected a multiple of image_size=16, got 40"),
        ({"quality": "best"}, "quality: expected one of .'reference', .*, got 'best'"),
        ({"camera": 2}, "camera: expected a value <= 1, got 2"),
        ({"camera": "side"}, "camera: expected an int, got str"),
        ({"action_repeat": 2.0}, "action_repeat: expected an int, got float"),
        ({"image_size": "64"}, "image_size: expected an int, got str"),
        ({"control_steps": True}, "control_steps: expected an int, got bool"),
        ({"quality": ["fast"]}, "quality: expected one of .*, got .'fast'"),
    ],
)
def test_wrong_settings_are_refused_by_name(open_environment, settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        open_environment(**settings)


def test_other_render_modes_are_refused_by_name():
    with pytest.raises(ValueError, match="render_mode: expected one of .*, got 'human'"):
        make("cheetah-run").__class__("cheetah-run", action_repeat=4, render_mode="human")


def test_larger_frames_are_averaged_down(open_environment):
    environment = open_environment(image_size=32, render_size=64)
    observation, _ = environment.reset(seed=0)
    frame = environment.render()
    assert (observation.shape, frame.shape) == ((32, 32, 3), (64, 64, 3))
    np.testing.assert_array_equal(observation, area_average(frame, 32))
    alone = open_environment(image_size=64).reset(seed=0)[0]
    np.testing.assert_array_equal(frame, alone)


@pytest.mark.parametrize(("size", "target"), [(64, 32), (96, 32), (64, 64), (64, 1)])
def test_area_average_rounds_the_mean_of_each_block(size, target):
    frame = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    factor = size // target
    blocks = frame.reshape(target, factor, target, factor, 3).astype(np.float64)
    np.testing.assert_array_equal(
        area_average(frame, target), np.floor(blocks.mean((1, 3)) + 0.5).astype(np.uint8)
    )


def test_render_before_reset_and_reset_after_close_are_refused(open_environment):
    environment = open_environment()
    with pytest.raises(RuntimeError, match="render: expected an episode; call reset first"):
        environment.render()
    environment.reset(seed=0)
    environment.close()
    environment.close()
    for name, use in (
        ("reset", lambda: environment.reset(seed=0)),
        ("step", lambda: environment.step(np.zeros(6))),
        ("render", environment.render),
        ("physics", lambda: environment.physics),
    ):
        with pytest.raises(RuntimeError, match=f"{name}: expected an open environment"):
            use()


def test_repeat_of_tasks_outside_the_paper_is_said(open_environment, caplog):
    with caplog.at_level(logging.INFO, "planet"):
        open_environment("cheetah-run")
        open_environment("hopper-hop", action_repeat=3)
        assert caplog.text == ""
        open_environment("hopper-hop")
    assert "hopper-hop is not in the paper: action repeat 2" in caplog.text


def test_only_the_suites_own_deprecation_is_silenced(open_environment, caplog):
    with caplog.at_level(logging.WARNING, "absl"):
        open_environment("cheetah-run")
        assert caplog.text == ""
        logging.getLogger("absl").warning("settotalmass of someone else")
    assert "settotalmass of someone else" in caplog.text
