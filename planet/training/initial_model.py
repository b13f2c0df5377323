"""The world model as training begins with it."""

from __future__ import annotations

import torch

from planet.config import Config
from planet.models import WorldModel
from planet.noise import mix_seed
from planet.training import seeds
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
