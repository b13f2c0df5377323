"""Episodes' beginnings and ends: start states, lengths, terminations, divergence."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the train extra")
pytest.importorskip("dm_control", reason="needs the train extra")

from planet.envs.dmc import START_STATES

pytestmark = pytest.mark.usefixtures("opengl")


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
