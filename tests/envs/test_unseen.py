"""Tasks that are played and not drawn."""

# ruff: noqa: E402 - what the extra brings is imported after the check that it is there
import numpy as np
import pytest

pytest.importorskip("gymnasium", reason="needs the train extra")

from planet.envs.toy import ToyReachEnv
from planet.envs.unseen import Unseen


def played(environment, steps=6):
    """All that an episode gives but its frames."""
    rng = np.random.default_rng(0)
    _, info = environment.reset(seed=3)
    outcomes = [info]
    for _ in range(steps):
        action = rng.uniform(-1, 1, environment.action_space.shape).astype(np.float32)
        outcomes.append(environment.step(action)[1:])
    return outcomes


@pytest.mark.usefixtures("opengl")
def test_an_episode_of_the_suite_is_the_same_and_nothing_is_drawn(open_environment):
    environment = open_environment(control_steps=20)
    unseen = Unseen(open_environment(control_steps=20))
    assert played(unseen, 5) == played(environment, 5)
    assert unseen.unwrapped._renderer is None


def test_observations_are_black_and_in_their_space(monkeypatch):
    environment = ToyReachEnv(control_steps=5)
    expected = played(environment, 5)
    monkeypatch.setattr(ToyReachEnv, "render", None)
    unseen = Unseen(environment)
    assert played(unseen, 5) == expected
    observation, _ = unseen.reset(seed=0)
    assert observation in unseen.observation_space and not observation.any()
    assert unseen.action_space == environment.action_space
