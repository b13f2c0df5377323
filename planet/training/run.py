"""A run directory opened for reading: its settings, and the agent of its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from planet import envs
from planet.agent import Agent
from planet.config import Config, EnvironmentConfig
from planet.training.action_box import ActionBox
from planet.training.check_environment import check_environment
from planet.training.checkpointing import Checkpoints
from planet.training.device import available_device
from planet.training.initial_model import make_agent, make_world_model
from planet.training.run_config import check_config, overridden
from planet.training.run_state import check_actions, check_learner

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class Run:
    """A trained agent and where it comes from.

    Attributes:
      directory: of the run.
      config: its settings, with what was asked for instead.
      agent: of the last checkpoint.
      episodes: collected so far.
      updates: gradient steps so far.
      environment_steps: control steps of the collected episodes.
      actions: the box that the agent acts in.
    """

    directory: Path
    config: Config
    agent: Agent
    episodes: int
    updates: int
    environment_steps: int
    actions: ActionBox


def open_run(
    directory: Path | str,
    overrides: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Run:
    """Loads the agent of a run's checkpoint; nothing in the directory is changed.

    Args:
      directory: of the run.
      overrides: settings that the agent is to act with instead of the run's, by section and name,
        as {"train": {"device": "cuda"}}; those of `planet.config.ActingConfig`.

    Raises:
      FileNotFoundError: the directory holds no run, or no checkpoint yet.
      ValueError: settings or checkpoint are damaged or of two runs, an override is unknown, wrong
        or of what was learned, or the device is not there.
    """
    directory = Path(directory)
    settings = directory / "config.json"
    if not settings.exists():
        raise FileNotFoundError(f"{directory} holds no run: config.json is missing")
    kept = Config.load(settings)
    config = overridden(kept, overrides)
    loaded = Checkpoints(directory).load(available_device(config))
    if loaded is None:
        raise FileNotFoundError(f"{directory} holds no checkpoint yet: checkpoint.pt is missing")
    path, state = loaded
    check_config(path, state.config, kept)
    actions = state.actions
    model = make_world_model(config, actions.size)
    check_learner(path, state.learner, model)
    model.load_state_dict(state.learner["model"])
    agent = make_agent(config, model, actions)
    return Run(
        directory, config, agent, state.episodes, state.updates, state.environment_steps, actions
    )


def make_environment(config: EnvironmentConfig) -> gymnasium.Env[Any, Any]:
    """The environment that the settings describe; raises what `planet.envs.make` raises."""
    return envs.make(**vars(config))


def open_environment(run: Run) -> gymnasium.Env[Any, Any]:
    """Makes the environment of a run, and compares it with what the agent was trained in.

    Raises:
      ValueError: its frames or actions are others.
      ImportError, RenderingUnavailable: as `planet.envs.make`.
    """
    environment = make_environment(run.config.environment)
    try:
        actions = check_environment(environment, run.config.environment.image_size)
        check_actions(run.directory, run.actions, actions)
    except ValueError:
        environment.close()
        raise
    return environment
