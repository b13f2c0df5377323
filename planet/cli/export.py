"""`planet export`: writes the agent of a run for programs without Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from planet.cli.options import RunDirectory
from planet.cli.output import say
from planet.envs import task_names
from planet.errors import advice
from planet.experiments.run import Run, open_run
from planet.planning import PLANNERS, SamplingPlanner
from planet.replay import episode_name, read_info
from planet.storage.atomic import replaceable
from planet.training.schedule import exploration_stddev
from planet.weights.file import save_weights
from planet.weights.filter_weights import FilterWeights


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Writes the whole agent of a run's checkpoint into one file: from camera frames to actions.

    It holds encoder, posterior, transition and reward model, the planner's settings, the action
    repeat and how frames were made. C++ programs act from it without Python and torch
    (csrc/weight_file.h, examples/cpp); in Python planet.weights.file reads it. An existing file is
    replaced. Nothing in the run's directory is changed.
    """

    run_dir: RunDirectory
    file: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE", help="the weight file to write")
    ]


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = tyro.cli(ExportOptions, prog=f"{advice.program()} export", args=arguments)
    if not options.file.parent.is_dir():
        raise FileNotFoundError(
            f"file: expected a path in an existing directory, got {options.file}"
        )
    replaceable(options.file)
    trained = open_run(options.run_dir, {"train": {"device": "cpu"}})
    settings = exported_settings(trained)
    weights = trained.agent.weights
    if not isinstance(weights, FilterWeights):
        model = trained.config.model
        seen = {name: shape for name, (_, shape) in weights.observation.items()}
        raise ValueError(
            "run: expected a model whose filter C++ has: transition='rssm', posterior='filter', "
            f"observing one frame, got transition={model.transition!r}, "
            f"posterior={model.posterior!r}, observing {seen}"
        )
    save_weights(weights, options.file, settings)
    listed = ", ".join(f"{name} {value}" for name, value in settings.items())
    say(
        f"{trained.config.environment.task}: the whole agent after {trained.episodes} episodes and "
        f"{trained.updates} updates\n{_sizes(weights)}\n  {listed}\n"
        f"written to {options.file} ({options.file.stat().st_size:,} bytes)"
    )
    return 0


def exported_settings(trained: Run) -> dict[str, Any]:
    """Returns the settings with which a program acts as the run does, planner and all.

    `exploration_stddev` is that of the run's next episode, and `render_size` that of the pictures
    which frames are averaged down from; 0: not said, as a user's own environment makes its frames.

    Raises:
      ValueError: C++ has no such planner, or the run executes more than one action of a plan.
    """
    config, planner = trained.config.planner, trained.agent.planner
    if not isinstance(planner, SamplingPlanner):
        known = [name for name, kind in PLANNERS.items() if issubclass(kind, SamplingPlanner)]
        got = type(planner).__name__
        raise ValueError(f"planner: expected one that C++ has, too, {known}, got {got}")
    if config.execute > 1:
        raise ValueError(
            "planner.execute: expected 1, as agents in C++ plan at every step, got "
            f"{config.execute}"
        )
    rollouts = vars(trained.agent.imagination.settings)
    settings = {
        "planner": config.name,
        **asdict(planner.settings),
        "budget_ms": config.budget_ms,
        **{name: rollouts[name] for name in ("precision", "state_noise", "discount")},
    }
    # Bounds of the environment's box, of which the settings hold shares.
    shares = trained.actions.share(config)
    bounds = {name: _plain(bound) for name, bound in zip(("low", "high"), shares, strict=True)}
    # A user's own environment repeats actions as it likes; the episodes know it. 0: not said.
    newest = trained.directory / "episodes" / episode_name(trained.episodes - 1)
    repeat = read_info(newest).metadata.get("action_repeat", 0) if newest.exists() else 0
    environment, episodes = trained.config.environment, trained.episodes
    return {
        **settings,
        **bounds,
        "action_repeat": repeat,
        "exploration_stddev": exploration_stddev(trained.config.train, episodes),
        "render_size": environment.render_size if environment.task in task_names() else 0,
    }


def _plain(bound: Any) -> float | list[float]:
    plain: float | list[float] = bound.tolist() if hasattr(bound, "tolist") else bound
    return plain


def _sizes(whole: FilterWeights) -> str:
    weights, encoder, size = whole.rollout, whole.encoder, whole.image_size
    reward = "-".join(str(weight.shape[0]) for weight in weights.reward_weights)
    layers = ("-".join(map(str, x)) for x in (encoder.channels, encoder.kernels, encoder.strides))
    channels, kernels, strides = layers
    return (
        f"  frames {size}x{size} of {whole.bit_depth} bits; encoder channels {channels}, kernels "
        f"{kernels}, strides {strides}\n"
        f"  {weights.transition}, belief {weights.belief_size}, state {weights.state_size}, action "
        f"{weights.action_size}, hidden {weights.hidden_size}, reward {reward}, "
        f"{weights.activation}, stddev {weights.stddev} {weights.min_stddev}"
    )
