# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import sys

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
environment = gymnasium.make("planet.envs:planet/CheetahRun-v0", image_size=16, quality="fast")
observation, _ = environment.reset(seed=0)
print(observation.shape, environment.spec.id)
"""
    )
    assert result.stdout.split("\n")[0] == "(16, 16, 3) planet/CheetahRun-v0", result.stderr
    assert result.stderr == ""


def test_registering_imports_neither_mujoco_nor_dm_control(run_script):
    result = run_script(
        """
import sys
import planet.envs, gymnasium
assert "planet/CheetahRun-v0" in gymnasium.registry
print([name for name in ("mujoco", "dm_control", "OpenGL") if name in sys.modules])
"""
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_missing_extra_is_named_with_the_command(run_script):
    result = run_script(
        """
import sys
sys.modules["gymnasium"] = None
import planet.envs
print(planet.envs.task_names()[0])
for task in ("toy-reach", "cheetah-run"):
    try:
        planet.envs.make(task)
    except ImportError as error:
        print(error)
"""
    )
    lines = result.stdout.strip().split("\n")
    assert lines[0] == "acrobot-swingup", result.stderr
    expected = "environments need gymnasium; install it with: pip install 'planet-rl[train]'"
    assert lines[1:] == [expected, expected]


@pytest.mark.parametrize("package", ["dm_control", "mujoco"])
def test_missing_simulator_is_named_with_the_command(run_script, opengl, package):
    result = run_script(
        f"""
import sys
sys.modules[{package!r}] = None
import planet.envs
try:
    planet.envs.make("cheetah-run")
except ImportError as error:
    print(error)
"""
    )
    expected = f"environments need {package}; install it with: pip install 'planet-rl[train]'"
    assert result.stdout.strip() == expected, result.stderr


def test_plugin_entry_point_target_exists():
    assert sys.modules["planet.envs.registration"].register_environments is register_environments
