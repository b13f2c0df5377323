"""PlaNet: a latent model is learned from pixels, and actions are planned in it at every step."""

from __future__ import annotations

import torch
from torch import Tensor

from planet.acting.baselines import RandomPolicy
from planet.config import Config
from planet.protocols import Chunk, Policy, Spec
from planet.training import schedule
from planet.training.action_box import ActionBox
from planet.training.initial_model import make_agent, make_world_model
from planet.training.learner import GradientLearner
from planet.training.loss import sequence_loss


def build(config: Config, spec: Spec) -> GradientLearner:
    """Makes the learner of a run, on the device of the settings.

    Args:
      config: of the run; its seed decides the first parameters.
      spec: of the environment.

    Raises:
      ValueError: the device is unknown or not there, or the planner does not serve it.
    """
    train, box = config.train, ActionBox(spec.low, spec.high)
    model = make_world_model(config, box.size)
    agent = make_agent(config, model, box)
    random = RandomPolicy(spec)

    def loss(chunk: Chunk, generator: torch.Generator) -> dict[str, Tensor]:
        return sequence_loss(model, chunk, train, generator)

    def policy(episodes: int) -> Policy:
        if schedule.planned_episodes(train, episodes) < 0:
            return random
        agent.update_weights()
        agent.exploration_stddev = schedule.exploration_stddev(train, episodes)
        return agent

    return GradientLearner(model, loss, policy, train)
