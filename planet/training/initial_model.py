"""The world model as training begins with it, and the agent that plans in it."""

from __future__ import annotations

import torch

from planet.agent import Agent
from planet.config import Config
from planet.models import WorldModel
from planet.noise import mix_seed
from planet.planning import make_planner
from planet.training import seeds
from planet.training.action_box import ActionBox
from planet.training.device import available_device


def make_world_model(config: Config, action_size: int) -> WorldModel:
    """Makes a world model on the device of the settings; the seed decides its parameters.

    Raises:
      ValueError: the device is unknown or not there.
    """
    device = available_device(config)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # not on torch's default device
        torch.manual_seed(mix_seed(config.train.seed, seeds.INITIAL))
        model = WorldModel(config.model, action_size, config.environment.image_size)
    return model.to(device)


def make_agent(config: Config, model: WorldModel, actions: ActionBox) -> Agent:
    """Makes an agent of the settings that acts in a box of actions, without exploration noise.

    Raises:
      ValueError: a setting is out of range for the box, or there is no planner of that name.
    """
    low, high = actions.share(config.planner, model.device)
    return Agent(
        model,
        make_planner(config.planner),
        low=low,
        high=high,
        imagination=config.imagination,
        budget_ms=config.planner.budget_ms,
        exploration_stddev=0.0,
    )
