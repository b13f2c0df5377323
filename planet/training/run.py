"""A run directory opened for reading: its settings, and the agent of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from planet import envs
from planet.agent import Agent
from planet.checkpoint import load_checkpoint
from planet.config import Config, EnvironmentConfig
from planet.envs.tasks import TOY_TASK, action_repeat_of
from planet.training.action_box import ActionBox
from planet.training.check_environment import check_environment
from planet.training.environment_steps import kept_steps
from planet.training.trainer import kept_actions, make_world_model

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class Run:
    """A trained agent and where it comes from.

    Attributes:
      directory: of the run.
      config: its settings, with the device and the planner that were asked for.
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
    device: str | None = None,
    backend: Literal["fused", "reference"] | None = None,
    precision: Literal["fp32", "int8", "fp16", "bf16"] | None = None,
    budget_ms: float | None = None,
    variant: Literal["portable", "persistent"] | None = None,
) -> Run:
    """Loads the agent of a run's checkpoint; nothing in the directory is changed.

    Args:
      directory: of the run.
      device: where to compute; None takes the run's.
      backend: of the planner; None takes the run's.
      precision: of the planner; None takes the run's.
      budget_ms: of a plan; None takes the run's.
      variant: of the planner's CUDA kernels; None takes the run's.

    Raises:
      FileNotFoundError: the directory holds no run, or no checkpoint yet.
      ValueError: settings or checkpoint are damaged, or the device is not there or not served.
    """
    directory = Path(directory)
    for name, what in (("config.json", "run"), ("checkpoint.pt", "checkpoint yet")):
        if not (directory / name).exists():
            raise FileNotFoundError(f"{directory} holds no {what}: {name} is missing")
    config = Config.load(directory / "config.json")
    planner = replace(
        config.planner,
        backend=backend or config.planner.backend,
        precision=precision or config.planner.precision,
        budget_ms=config.planner.budget_ms if budget_ms is None else budget_ms,
        variant=variant or config.planner.variant,
    )
    train = replace(config.train, device=device or config.train.device)
    config = replace(config, train=train, planner=planner)
    state = load_checkpoint(directory / "checkpoint.pt", config.train.device)
    actions = kept_actions(state)
    model = make_world_model(config, actions.size)
    model.load_state_dict(state["learner"]["model"])
    agent = Agent(model, actions.planner(config.planner, model.device), exploration_stddev=0.0)
    task = config.environment.task
    repeat = config.environment.action_repeat or (1 if task == TOY_TASK else action_repeat_of(task))
    return Run(
        directory,
        config,
        agent,
        episodes=int(state["episodes"]),
        updates=int(state["learner"]["updates"]),
        environment_steps=kept_steps(state, directory, repeat),
        actions=actions,
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
    actions = check_environment(environment, run.config.environment.image_size)
    if actions != run.actions:
        environment.close()
        raise ValueError(
            f"environment: expected actions {run.actions}, in which the agent of {run.directory} "
            f"was trained, got {actions}"
        )
    return environment
