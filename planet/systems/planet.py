"""PlaNet: a latent model is learned from what is observed, and actions are planned in it."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Tensor

from planet.acting.agent import Agent
from planet.acting.baselines import RandomPolicy
from planet.config import Config, TrainConfig
from planet.models import WorldModel
from planet.models.compiled import CompiledModel
from planet.noise import mix_seed
from planet.planning import make_planner
from planet.protocols import Chunk, Policy, Shapes, Spec, image_spec
from planet.training import schedule, seeds
from planet.training.action_box import ActionBox
from planet.training.device import available_device, require_bf16
from planet.training.learner import GradientLearner
from planet.training.loss import SequenceModel, sequence_loss

_LOGGER = logging.getLogger("planet")


def build(config: Config, spec: Spec) -> GradientLearner:
    """Makes the learner of a run: a world model, and an agent that plans in it.

    Args:
      config: of the run; its seed decides the first parameters.
      spec: of the environment.

    Raises:
      ValueError: the device is unknown or not there, has no kernels as the settings ask, or a
        setting is out of range for the box.
    """
    train, box = config.train, ActionBox(spec.low, spec.high)
    _warn_of_untrained_prior(train)
    model = make_world_model(config, box.size, spec.observation)
    trained = trained_model(model, train)
    agent, random = make_agent(config, model, box), RandomPolicy(spec)

    def loss(chunk: Chunk, seeds: Tensor) -> dict[str, Tensor]:
        return sequence_loss(trained, chunk, train, seeds)

    def policy(episodes: int) -> Policy:
        if schedule.later_episodes(train, episodes) < 0:
            return random
        agent.update_weights()
        agent.exploration_stddev = schedule.exploration_stddev(train, episodes)
        return agent

    return GradientLearner(model, loss, policy, train)


def _warn_of_untrained_prior(train: TrainConfig) -> None:
    """Says so when no term of the loss reaches the prior that plans are imagined by."""
    weights = (
        "divergence_weight", "overshooting_weight", "overshooting_reward_weight",
        "overshooting_observation_weight",
    )  # fmt: skip
    if not any(getattr(train, name) for name in weights):
        _LOGGER.warning(
            "train.divergence_weight: expected a value > 0, got 0, and no overshooting: nothing "
            "trains the prior, which plans are imagined by"
        )


def trained_model(model: WorldModel, train: TrainConfig) -> SequenceModel:
    """Returns what a loss of the model is computed with, on its parameters.

    Raises:
      ValueError: the model's device or this processor has no kernels as the settings ask.
    """
    chosen = train.on(model.device.type)
    if chosen.precision == "bf16":
        require_bf16()
    return model if chosen.backend == "reference" else CompiledModel(model, chosen.precision)


def make_world_model(
    config: Config, action_size: int, observation: Shapes | None = None
) -> WorldModel:
    """Makes a world model on the device of the settings; the seed decides its parameters.

    Args:
      config: of the run.
      action_size: A.
      observation: what it observes; None: pictures of the settings' size.

    Raises:
      ValueError: the device is unknown or not there, or the layers do not fit an image.
    """
    device = available_device(config)
    if observation is None:
        observation = image_spec(config.environment.image_size, config.environment.frames)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # not on torch's default device
        torch.manual_seed(mix_seed(config.train.seed, seeds.INITIAL))
        model = WorldModel(config.model, action_size, observation)
    return model.to(device)


def make_agent(config: Config, model: WorldModel, actions: ActionBox) -> Agent:
    """Makes an agent of the settings that acts in a box of actions, without exploration noise.

    Raises:
      ValueError: a setting is out of range for the box, or plans are to be made elsewhere than in
        the model.
    """
    if config.planner.scorer != "model":
        raise ValueError(
            "planner.scorer: expected 'model', which an agent plans in, got "
            f"{config.planner.scorer!r}"
        )
    imagination = config.imagination
    if not config.model.stochastic:  # whose stddevs are 0: no noise need be drawn
        imagination = replace(imagination, state_noise=False)
    low, high = actions.share(config.planner, model.device)
    return Agent(
        model,
        make_planner(config.planner),
        low=low,
        high=high,
        imagination=imagination,
        budget_ms=config.planner.budget_ms,
        exploration_stddev=0.0,
        execute=config.planner.execute,
    )
