# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")

from planet.envs import register_environments, task_names
from planet.envs.tasks import action_repeat_of, gymnasium_id


def test_every_task_has_an_id():
    for name in task_names():
        assert gymnasium_id(name) in gymnasium.registry


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    register_environments()
    assert gymnasium.registry == before


def test_ids_carry_the_action_repeat():
    assert gymnasium.spec("planet/CartpoleSwingup-v0").kwargs == {
        "task": "cartpole-swingup",
        "action_repeat": action_repeat_of("cartpole-swingup"),
    }


def test_toy_can_be_made_by_id_and_in_vectors():
    environment = gymnasium.make("planet/ToyReach-v0", image_size=16)
    assert environment.reset(seed=0)[0].shape == (16, 16, 3)
    vector = gymnasium.make_vec("planet/ToyReach-v0", num_envs=3)
    assert vector.reset(seed=0)[0].shape == (3, 32, 32, 3)
    vector.close()


def test_id_can_name_the_package_so_that_nothing_is_imported_first(run_script, opengl):
    result = run_script(
        """
import sys
import gymnasium
gymnasium.make("planet.envs:planet/ToyReach-v0")
print([name for name in ("mujoco", "dm_control", "OpenGL") if name in sys.modules])
environment = gymnasium.make("planet.envs:planet/CheetahRun-v0", image_size=16, quality="fast")
observation, _ = environment.reset(seed=0)
print(observation.shape, environment.spec.id)
"""
    )
    assert result.stdout == "[]\n(16, 16, 3) planet/CheetahRun-v0\n", result.stderr
    assert result.stderr == ""


def test_missing_extra_is_named_with_the_command(run_script, opengl):
    result = run_script(
        """
import sys
sys.modules["gymnasium"] = None
import planet.envs
print(planet.envs.task_names()[0])
def refused(task):
    try:
        planet.envs.make(task)
    except ImportError as error:
        print(error)

refused("toy-reach")
refused("cheetah-run")
del sys.modules["gymnasium"]
sys.modules["dm_control"] = None
refused("cheetah-run")
"""
    )
    names, *lines = result.stdout.strip().split("\n")
    assert names == "acrobot-swingup", result.stderr
    for line, package in zip(lines, ("gymnasium", "gymnasium", "dm_control"), strict=True):
        assert line.startswith(f"environments need {package}; install it with: ")
