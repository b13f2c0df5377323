"""The true simulator as a scorer: the suite's rewards to the bit, and an environment untouched."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there

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
