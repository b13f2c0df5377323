"""Opens a run directory for reading: its settings, and the policy of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from planet import envs
from planet.acting.agent import Agent
from planet.config import Config, EnvironmentConfig
from planet.experiments.recorded import UNNAMED
from planet.protocols import Learner, Policy, Spec
from planet.systems.planet import build
from planet.training.action_box import ActionBox
from planet.training.check_environment import check_environment
from planet.training.checkpointing import Checkpoints
from planet.training.device import available_device
from planet.training.run_config import check_config, overridden
from planet.training.run_state import check_spec, load_learner

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class Run:
    """Holds a trained policy and where it comes from.

    Attributes:
      directory: of the run.
      config: its settings, with what was asked for instead.
      policy: of the last checkpoint, to act without exploration.
      episodes: collected so far.
      updates: gradient steps so far.
      environment_steps: control steps of the collected episodes.
      spec: of the environment that the policy acts in.
    """

    directory: Path
    config: Config
    policy: Policy
    episodes: int
    updates: int
    environment_steps: int
    spec: Spec

    @property
    def actions(self) -> ActionBox:
        """Returns the box that the policy acts in."""
        return ActionBox(self.spec.low, self.spec.high)

    @property
    def agent(self) -> Agent:
        """Returns the policy where it is an agent that plans; refuses others with TypeError."""
        if not isinstance(self.policy, Agent):
            raise TypeError(f"run: expected an agent that plans, got {type(self.policy).__name__}")
        return self.policy


def open_run(
    directory: Path | str,
    overrides: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    build: Callable[[Config, Spec], Learner] = build,
) -> Run:
    """Loads the policy of a run's checkpoint; nothing in the directory is changed.

    Args:
      directory: of the run.
      overrides: settings that the policy is to act with instead of the run's, by section and name,
        as {"train": {"device": "cuda"}}; those of `planet.config.ActingConfig`.
      build: makes the run's learner.

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
    available_device(config)
    loaded = Checkpoints(directory).load()
    if loaded is None:
        raise FileNotFoundError(f"{directory} holds no checkpoint yet: checkpoint.pt is missing")
    path, state = loaded
    check_config(path, state.config, kept)
    learner = build(acting_settings(config), state.spec)
    load_learner(path, learner, state)
    policy = learner.policy(max(state.episodes, config.train.seed_episodes))
    if isinstance(policy, Agent):
        policy.exploration_stddev = 0.0
    counts = state.episodes, state.updates, state.environment_steps
    return Run(directory, config, policy, *counts, state.spec)


def acting_settings(config: Config) -> Config:
    """Returns settings whose learner can be had wherever an agent can act: it makes no updates."""
    return config.with_overrides({"train": {"backend": "reference", "precision": "fp32"}})


def make_environment(config: EnvironmentConfig) -> gymnasium.Env[Any, Any]:
    """Makes the environment of the settings.

    Raises:
      ValueError: the run is fitted to episodes that name no task.
      Whatever `planet.envs.make` raises.
    """
    if config.task == UNNAMED:
        raise ValueError(
            f"task: expected one of planet.envs.make, got {UNNAMED!r}, which stands for episodes "
            "that name none; planet fit --task names it"
        )
    return envs.make(**vars(config))


def open_environment(run: Run) -> gymnasium.Env[Any, Any]:
    """Makes the environment of a run, and compares it with what the agent was trained in.

    Raises:
      ValueError: its observations or actions are others.
      ImportError, RenderingUnavailable: as `planet.envs.make`.
    """
    environment = make_environment(run.config.environment)
    try:
        spec = check_environment(environment, run.config.environment)
        check_spec(run.directory, run.spec, spec)
    except ValueError:
        environment.close()
        raise
    return environment
