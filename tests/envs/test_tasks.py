import pytest

from planet.config import EnvironmentConfig
from planet.envs import ACTION_REPEAT, task_names, tasks
from planet.envs.tasks import CONTROL_TASKS, REFUSED_TASKS, gymnasium_id, split_task


def test_static_table_is_the_suite_without_lqr():
    suite = pytest.importorskip("dm_control.suite")
    every = {f"{domain}-{task}" for domain, task in suite.ALL_TASKS}
    ours = {f"{domain}-{task}" for domain, tasks in CONTROL_TASKS.items() for task in tasks}
    assert ours | set(REFUSED_TASKS) == every
    assert not ours & set(REFUSED_TASKS)
    assert all(name.startswith("lqr-") for name in REFUSED_TASKS)


def test_names_and_ids_are_unique():
    names = task_names()
    assert len(names) == len(set(names)) == 50
    assert len({gymnasium_id(name) for name in names}) == 50
    assert "toy-reach" in names


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("cheetah-run", "planet/CheetahRun-v0"),
        ("ball_in_cup-catch", "planet/BallInCupCatch-v0"),
        ("humanoid_CMU-stand", "planet/HumanoidCMUStand-v0"),
        ("swimmer-swimmer15", "planet/SwimmerSwimmer15-v0"),
        ("toy-reach", "planet/ToyReach-v0"),
    ],
)
def test_gymnasium_ids_are_in_camel_case(name, identifier):
    assert gymnasium_id(name) == identifier


def test_action_repeat_is_the_papers_and_two_elsewhere():
    assert ACTION_REPEAT == {
        "cartpole": 8, "reacher": 4, "cheetah": 4, "finger": 2, "ball_in_cup": 4, "walker": 2,
    }  # fmt: skip
    assert tasks.action_repeat_of("cartpole-swingup") == 8
    assert tasks.action_repeat_of("hopper-hop") == 2


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cheeta-run", "cheetah-run"),
        ("cheetah_run", "cheetah-run"),
        ("walker-fly", "walker-stand, walker-walk, walker-run"),
        ("CHEETAH-RUN", "cheetah-run"),
        ("toy-reech", "toy-reach"),
        ("zzz", "toy-reach"),
        ("", "toy-reach"),
    ],
)
def test_unknown_task_is_refused_with_near_names(name, near):
    with pytest.raises(ValueError, match="task: expected") as error:
        split_task(name)
    assert near in str(error.value)
    assert repr(name) in str(error.value)


def test_lqr_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="'lqr-lqr_2_1' is not supported: .*unbounded actions"):
        split_task("lqr-lqr_2_1")


def test_task_must_be_a_string():
    with pytest.raises(TypeError, match="task: expected a string, got int"):
        split_task(3)


def test_one_picture_of_a_suite_task_hides_velocities():
    assert EnvironmentConfig().hides_velocities
    for task, observe, frames in (
        ("cheetah-run", "pixels", 2), ("cheetah-run", "vectors", 1), ("cheetah-run", "both", 1),
        ("toy-reach", "pixels", 1), ("gym:Pendulum-v1", "pixels", 1),
    ):  # fmt: skip
        config = EnvironmentConfig(task=task, observe=observe, frames=frames)
        assert not config.hides_velocities
