"""The true simulator as a scorer: the suite's rewards to the bit, and an environment untouched."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there

import logging

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium", reason="needs the train extra")
pytest.importorskip("dm_control", reason="needs the train extra")

from planet.envs.batched_rewards import REWARDS
from planet.envs.simulation_state import read_state
from planet.envs.simulator import Simulator

pytestmark = pytest.mark.usefixtures("opengl")

SLOW = "pendulum-swingup"
PAPER = (
    "cartpole-balance", "cartpole-swingup", "reacher-easy", "finger-spin", "cheetah-run",
    "ball_in_cup-catch", "walker-walk",
)  # fmt: skip


def sequences(rng, environment, horizon, candidates):
    """Random action sequences [H, 1, J, A]."""
    size = environment.action_space.shape[0]
    values = rng.uniform(-1, 1, (horizon, 1, candidates, size))
    return torch.from_numpy(values.astype(np.float32))


def simulated(simulator, actions):
    """Returns in float64, before they are rounded."""
    return simulator._simulate(actions[:, 0].double().numpy())


def stir(environment, task):
    """Puts the episode where a sparse reward comes and goes."""
    physics = environment.physics
    if task == "finger-spin":
        physics.named.data.qvel["hinge"] = -40.0
    if task == "ball_in_cup-catch":
        offset = physics.named.data.site_xpos["target"] - physics.named.data.xpos["ball"]
        physics.named.data.qpos[["ball_x", "ball_z"]] += offset[[0, 2]]
    if task.startswith("reacher"):
        physics.named.model.geom_pos["target", :2] = physics.named.data.geom_xpos["finger", :2]
    physics.forward()


def test_the_papers_tasks_have_batched_rewards():
    assert set(PAPER) < set(REWARDS)


@pytest.mark.parametrize("task", [*REWARDS, SLOW])
def test_rewards_equal_the_suites_to_the_last_bit(open_environment, task):
    environment = open_environment(task, action_repeat=1)
    rng = np.random.default_rng(1)
    simulator = Simulator(environment, threads=1)
    seen = []
    for episode in range(3):
        environment.reset(seed=episode)
        if episode == 2:
            stir(environment, task)
        for _ in range(60):
            actions = sequences(rng, environment, 1, 3)
            expected = simulated(simulator, actions)
            reward = environment.simulate(actions[0, 0, 1].numpy())[0]
            assert reward == expected[1]
            seen.append(reward)
    assert task == SLOW or len(set(seen)) > 1


@pytest.mark.parametrize("task", [*PAPER, SLOW])
def test_a_return_is_what_the_environment_pays_and_planning_changes_nothing(open_environment, task):
    environment, other = open_environment(task), open_environment(task)
    rng = np.random.default_rng(2)
    simulator = Simulator(environment, threads=1)
    environment.reset(seed=4)
    other.reset(seed=4)
    executed = sequences(rng, environment, 8, 1)
    total = simulated(simulator, executed)[0]
    paid = 0.0
    for action in executed[:, 0, 0].numpy():
        before = read_state(environment.physics)
        simulator.returns(sequences(rng, environment, 3, 5))
        assert (read_state(environment.physics) == before).all()
        reward = environment.simulate(action)[0]
        assert reward == other.simulate(action)[0]
        paid += reward
    assert total == pytest.approx(paid, rel=1e-12)


def test_the_end_of_the_episode_is_the_end_of_the_return(open_environment):
    environment = open_environment("reacher-easy", control_steps=10)  # 4 + 4 + 2
    environment.reset(seed=0)
    stir(environment, "reacher-easy")
    simulator = Simulator(environment, threads=1)
    still = torch.zeros(5, 1, 2, 2)
    for expected in (10.0, 6.0, 2.0, 0.0):
        assert simulator.returns(still).tolist() == [[expected, expected]]
        if expected:
            environment.simulate(np.zeros(2, np.float32))


def test_any_number_of_threads_and_candidates_gives_the_same_bits(open_environment):
    environment = open_environment("walker-walk")
    environment.reset(seed=0)
    rng = np.random.default_rng(3)
    actions = sequences(rng, environment, 2, 150)  # more than are simulated together
    one, two = (Simulator(environment, threads=threads).returns(actions) for threads in (1, 2))
    assert (one == two).all() and len(one.unique()) > 100
    simulator = Simulator(environment)
    assert (simulator.returns(actions[:, :, 140:]) == one[:, 140:]).all()
    assert (simulator.returns(actions) == one).all()


def test_the_goal_of_every_episode_is_known(open_environment):
    environment = open_environment("reacher-easy", action_repeat=1)
    simulator = Simulator(environment, threads=1)
    returns = []
    for near in (True, False, True):
        environment.reset(seed=1)
        if near:
            stir(environment, "reacher-easy")  # moves the goal, which is in the model
        returns.append(simulator.returns(torch.zeros(1, 1, 1, 2)).item())
    assert returns == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("task", ["cheetah-run", SLOW])
def test_a_sequence_that_is_not_finite_is_worth_nan_and_the_others_what_they_are(
    open_environment, task
):
    environment = open_environment(task)
    environment.reset(seed=0)
    simulator = Simulator(environment, threads=1)
    actions = sequences(np.random.default_rng(4), environment, 3, 4)
    expected = simulator.returns(actions)
    actions[2, 0, 1, 0] = torch.nan
    actions[0, 0, 2, 0] = torch.inf
    returns = simulator.returns(actions)
    assert returns.isnan().tolist() == [[False, True, True, False]]
    assert (returns == expected)[0, [0, 3]].all()
    assert simulator.returns(torch.full_like(actions, torch.nan)).isnan().all()


@pytest.mark.parametrize("task", ["cheetah-run", SLOW])
def test_a_candidate_that_diverges_is_worth_nan_and_the_others_what_they_are(
    open_environment, task
):
    environment = open_environment(task)
    environment.reset(seed=0)
    environment.physics.model.actuator_gear[:] = 1e12  # so that only standing still is possible
    simulator = Simulator(environment, threads=1)
    actions = torch.zeros(3, 1, 3, environment.action_space.shape[0])
    actions[1, 0, 1] = 1.0
    for _ in range(2):  # nothing of it is left
        returns = simulator.returns(actions)
        assert returns.isnan().tolist() == [[False, True, False]]
        assert returns[0, 0] == returns[0, 2]
    environment.simulate(actions[0, 0, 1].numpy())
    *_, info = environment.simulate(actions[1, 0, 1].numpy())
    assert info["physics_diverged"]
    assert simulator.returns(actions).tolist() == [[0.0, 0.0, 0.0]]  # the episode has ended


def test_a_simulation_that_mujoco_gives_up_is_worth_nan(open_environment, monkeypatch):
    from mujoco.batch import Batch, SimulationError

    environment = open_environment("cheetah-run")
    environment.reset(seed=0)
    simulator = Simulator(environment, threads=1)
    actions = sequences(np.random.default_rng(5), environment, 2, 3)
    expected = simulator.returns(actions)
    step = Batch.step

    def fail(batch, *arguments):
        step(batch, *arguments)
        raise SimulationError(np.array([1]), "stack overflow")

    monkeypatch.setattr(Batch, "step", fail)
    returns = simulator.returns(actions)
    assert returns.isnan().tolist() == [[False, True, False]]
    assert (returns == expected)[0, [0, 2]].all()


def test_a_task_without_batched_rewards_says_so(open_environment, caplog):
    with caplog.at_level(logging.WARNING, "planet"):
        assert not Simulator(open_environment(SLOW)).batched
    assert f"{SLOW} has no batched rewards" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "planet"):
        assert Simulator(open_environment("cheetah-run")).batched
    assert caplog.text == ""


def test_other_environments_are_refused_by_name(open_environment):
    from gymnasium.wrappers import TimeLimit

    expected = "environment: expected a task of the DM Control Suite as planet.envs.make makes it"
    with pytest.raises(TypeError, match=f"{expected}, got ToyReachEnv$"):
        Simulator(open_environment("toy-reach", quality="faithful"))
    with pytest.raises(TypeError, match=f"{expected}, got TimeLimit; environment.unwrapped is one"):
        Simulator(TimeLimit(open_environment(), 3))


def test_wrong_arguments_are_refused_by_name(open_environment):
    environment = open_environment("reacher-easy")
    for low, high in ((-2.0, 1.0), (0.5, 0.0), (0.0, 1.5)):
        with pytest.raises(ValueError, match="low: expected -1 <= low <= high <= 1, got"):
            Simulator(environment, low=low, high=high)
    with pytest.raises(ValueError, match="threads: expected a value >= 1, got 0"):
        Simulator(environment, threads=0)
    simulator = Simulator(environment, low=-0.5, high=0.25)
    assert simulator.low.tolist() == [[-0.5, -0.5]] and simulator.high.tolist() == [[0.25, 0.25]]
    assert simulator.batch_size == 1
    with pytest.raises(RuntimeError, match="simulator: expected an episode; call .* reset first"):
        simulator.returns(torch.zeros(2, 1, 3, 2))
    environment.reset(seed=0)
    for shape in ((2, 2, 3, 2), (2, 1, 3, 3), (2, 1, 3)):
        with pytest.raises(ValueError, match=r"actions: expected shape \[H, 1, J, A=2\], got"):
            simulator.returns(torch.zeros(shape))
    with pytest.raises(TypeError, match="actions: expected a floating point tensor"):
        simulator.returns(torch.zeros(2, 1, 3, 2, dtype=torch.int64))
    environment.close()
    with pytest.raises(RuntimeError, match="physics: expected an open environment"):
        simulator.returns(torch.zeros(2, 1, 3, 2))
