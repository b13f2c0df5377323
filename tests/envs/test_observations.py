"""Observations of tasks: pictures, vectors or both, and the newest frames."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import copy
import pickle

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")

from gymnasium.utils.env_checker import check_env

from planet.envs import make
from planet.envs.toy import ToyReachEnv

RIGHT = np.float32([1, 0])
FORMS = [("pixels", 2), ("vectors", 1), ("both", 1), ("both", 3)]


def toy(**settings):
    return ToyReachEnv(image_size=8, control_steps=5, **settings)


@pytest.mark.parametrize(("observe", "frames"), FORMS)
def test_every_form_passes_gymnasiums_checker(observe, frames):
    check_env(toy(observe=observe, frames=frames))


def test_the_toys_vector_holds_point_and_target():
    environment = toy(observe="vectors")
    assert environment.observation_space == gymnasium.spaces.Box(0, 1, (4,), np.float32)
    before, _ = environment.reset(seed=0)
    after = environment.step(RIGHT * 0.5)[0]
    np.testing.assert_allclose(after - before, [0.05, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(before[2:], environment._target, atol=1e-7)


def test_both_shows_at_once_what_each_form_shows_alone():
    both, pixels, vectors = (toy(observe=form) for form in ("both", "pixels", "vectors"))
    for act in (lambda e: e.reset(seed=3)[0], lambda e: e.step(RIGHT)[0]):
        shown = act(both)
        assert [*shown] == ["image", "vector"] and shown in both.observation_space
        np.testing.assert_array_equal(shown["image"], act(pixels))
        np.testing.assert_array_equal(shown["vector"], act(vectors))


def test_frames_are_stacked_oldest_first_and_the_first_one_is_repeated():
    single, stacked = toy(), toy(frames=3)
    for seed in (1, 2):
        seen = [single.reset(seed=seed)[0]] * 3
        shown = [stacked.reset(seed=seed)[0]]
        for _ in range(4):
            seen.append(single.step(RIGHT)[0])
            shown.append(stacked.step(RIGHT)[0])
        for index, image in enumerate(shown):
            np.testing.assert_array_equal(image, np.concatenate(seen[index : index + 3], -1))


def test_a_copy_goes_on_with_the_frames_that_were_seen():
    environment = toy(frames=2)
    environment.reset(seed=1)
    environment.step(RIGHT)
    copies = copy.deepcopy(environment), pickle.loads(pickle.dumps(environment))
    expected = environment.step(RIGHT)[0]
    for one in copies:
        np.testing.assert_array_equal(one.step(RIGHT)[0], expected)


def test_nothing_is_drawn_where_vectors_are_shown(monkeypatch):
    environment = toy(observe="vectors")
    monkeypatch.setattr(ToyReachEnv, "render", None)
    environment.reset(seed=0)
    environment.step(RIGHT)


@pytest.mark.parametrize("task", ["toy-reach", "cheetah-run", "gym:Pendulum-v1"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"observe": "sound"}, "observe: expected one of .*'pixels', 'vectors', 'both'.*'sound'"),
        ({"frames": 0}, "frames: expected a value >= 1, got 0"),
        (
            {"observe": "vectors", "frames": 2},
            "frames: expected 1 where observe is 'vectors'",
        ),
    ],
)
def test_wrong_forms_are_refused_by_name(task, settings, message):
    if task == "cheetah-run":
        pytest.importorskip("dm_control", reason="needs the train extra")
    with pytest.raises(ValueError, match=message):
        make(task, **settings)


# --- The suite ------------------------------------------------------------------------------------

PLAIN = """
import os, sys
import ctypes.util
ctypes.util.find_library = lambda name: None
import numpy as np
import planet.envs
"""


@pytest.mark.parametrize("task", ["reacher-easy", "quadruped-escape"])
def test_a_suite_tasks_vector_is_its_own_observation_flattened_in_its_order(task):
    suite = pytest.importorskip("dm_control.suite", reason="needs the train extra")
    environment = make(task, observe="vectors", action_repeat=2)
    theirs = suite.load(*task.split("-"), task_kwargs={"random": 5})
    theirs.physics._make_rendering_contexts = lambda: None  # quadruped-escape's own
    time_step, (vector, _) = theirs.reset(), environment.reset(seed=5)
    spec = theirs.action_spec()
    for value in (0.3, -0.5):
        flat = np.concatenate([np.ravel(array) for array in time_step.observation.values()])
        np.testing.assert_array_equal(vector, flat.astype(np.float32))
        assert vector in environment.observation_space
        vector = environment.step(np.full(spec.shape, value, np.float32))[0]
        control = environment.scaled(np.float64(np.full(spec.shape, np.float32(value))))
        time_step = [theirs.step(control) for _ in range(2)][-1]


def test_vectors_need_no_opengl_library_and_touch_none(run_script):
    """quadruped-escape makes a context of the suite's own where it is not kept from it."""
    pytest.importorskip("dm_control", reason="needs the train extra")
    script = """
import pickle
environment = planet.envs.make("quadruped-escape", observe="vectors", action_repeat=1)
environment.reset(seed=0)
environment = pickle.loads(pickle.dumps(environment))
assert environment.step(np.zeros(12, np.float32))[0] in environment.observation_space
try:
    environment.render()
except planet.envs.RenderingUnavailable as error:
    print(error.what)
print("OpenGL" in sys.modules, os.environ["MUJOCO_GL"])
"""
    result = run_script(PLAIN + script, MUJOCO_GL="egl")
    assert result.stdout.endswith("EGL (MUJOCO_GL) was not found\nFalse egl\n"), result.stderr


def test_a_task_that_showed_vectors_renders_and_another_one_shows_pixels(run_script, opengl):
    script = """
import numpy as np
import planet.envs
settings = dict(quality="fast", image_size=16, action_repeat=1)
first = planet.envs.make("quadruped-escape", observe="vectors", **settings)
first.reset(seed=0)
second = planet.envs.make("quadruped-escape", observe="both", frames=2, **settings)
shown = second.reset(seed=0)[0]
assert (first.render() == shown["image"][..., :3]).all() and shown["image"].std() > 1
action = np.ones(12, np.float32)
vector, shown = first.step(action)[0], second.step(action)[0]
print((first.render() == second.render()).all(), (vector == shown["vector"]).all())
"""
    result = run_script(script)
    assert result.stdout == "True True\n", result.stderr


@pytest.mark.filterwarnings("ignore:.*A Box observation space m.*imum value is:UserWarning")
@pytest.mark.parametrize(("observe", "frames"), [("vectors", 1), ("both", 2)])
def test_a_suite_task_passes_gymnasiums_checker(open_environment, opengl, observe, frames):
    check_env(open_environment("ball_in_cup-catch", observe=observe, frames=frames))
