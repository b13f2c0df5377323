"""The suite's tasks as environments: spaces, rewards, actions, settings, pictures."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import logging

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")
pytest.importorskip("dm_control", reason="needs the train extra")

from gymnasium.utils.env_checker import check_env

from planet.envs import task_names
from planet.envs.dmc import area_average
from planet.envs.tasks import ACTION_REPEAT, split_task

pytestmark = pytest.mark.usefixtures("opengl")

CONTROL_TASKS = [name for name in task_names() if name != "toy-reach"]
# A domain's tasks share the model, and with it the spaces, the picture and the action repeat.
EACH_DOMAIN = list({split_task(name)[0]: name for name in CONTROL_TASKS}.values())


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
    with pytest.raises(ValueError, match=r"action: expected shape \[A="):
        environment.step(np.zeros(99))


@pytest.mark.filterwarnings("error::UserWarning")
def test_passes_gymnasiums_checker(open_environment):
    registered = gymnasium.make("planet/CheetahRun-v0", image_size=16, quality="fast")
    check_env(registered.unwrapped)
    registered.close()
    check_env(open_environment("ball_in_cup-catch"))


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
