"""`planet profile`: times a control step of a run, or a bare planner."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from planet.cli.options import parse_options
from planet.cli.output import say
from planet.config import ActingConfig, Config, ImaginationConfig, ModelConfig, choices
from planet.errors import advice
from planet.experiments.run import open_environment, open_run
from planet.profiling import Comparison, Profile, compare_planners, compare_run, plot_latency
from planet.profiling.plot import picture_format
from planet.storage.atomic import atomic_write, replaceable
from planet.training.device import available_device
from planet.training.threads import cpu_threads
from planet.weights.random import random_weights

NAMES = {
    choice: field.name
    for field in fields(ImaginationConfig)
    for choice in choices(ImaginationConfig, field.name)
}
"""Setting of the imagination that each name of `--compare` is a value of."""


def _optional(metavar: str, text: str | None = None) -> Any:
    """Makes an option whose default is not None but something that the help says."""
    return tyro.conf.arg(metavar=metavar, help=text, help_behavior_hint="")


_Count = Annotated[int | None, _optional("N")]
_Number = Annotated[float | None, _optional("X")]
_File = Annotated[Path | None, _optional("FILE")]
_RUN = _optional("[RUN_DIR]", "the run's directory; without one, a bare planner is timed")
_NAMES = _optional(
    "NAME,NAME",
    "planners to time side by side, the others against the first: values of the imagination's "
    f"settings ({', '.join(NAMES)}), or several joined: fp16+persistent",
)


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(ActingConfig):
    """Times a control step and its stages: render, filter, plan, environment.

    Without a run, times a bare planner with random weights of the model's sizes. With --compare,
    several planners take turns at every step on the same observations. The host's clock is read; a
    CUDA device is synchronised before and after each stage.
    """

    run_dir: Annotated[Path | None, tyro.conf.Positional, _RUN] = None
    compare: Annotated[str | None, _NAMES] = None
    rate: _Number = None  # control steps per second; steps that miss this deadline are counted
    steps: int = 100  # control steps, or plans, to time
    json: _File = None  # also write the result here
    plot: _File = None  # also draw histograms of the latency into this picture
    batch_size: _Count = None  # B, problems per plan of a bare planner; 1 if not given
    action_size: _Count = None  # A, of a bare planner; 6 if not given
    model: ModelConfig = field(default_factory=ModelConfig)


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = parse_options("profile", arguments, _default)
    _check(options)
    directory = options.run_dir
    comparison = _bare(options) if directory is None else _trained(options, directory)
    result = comparison if options.compare else comparison.first
    shown = say(result.table())
    if options.json is not None:
        with atomic_write(options.json) as file:
            file.write((json.dumps(result.to_dict(), indent=2) + "\n").encode())
        say(f"\nwritten to {options.json}")
    if options.plot is not None:
        plot_latency(comparison, options.plot, _title(comparison.first))
        say(f"\ndrawn into {options.plot}")
    return 0 if shown else 1


def _default(config: Config) -> ProfileOptions:
    return ProfileOptions(model=config.model, **vars(ActingConfig.of(config)))


def _bare(options: ProfileOptions) -> Comparison:
    config = Config(model=options.model).with_overrides(options.overrides())
    device = available_device(config)
    action_size = 6 if options.action_size is None else options.action_size
    batch_size = 1 if options.batch_size is None else options.batch_size
    weights = random_weights(config.model, action_size).to(device)
    with cpu_threads(config.train.threads):
        planners = _planners(options, device)
        return compare_planners(planners, weights, batch_size, options.steps, options.rate)


def _trained(options: ProfileOptions, directory: Path) -> Comparison:
    for name in ("batch_size", "action_size"):
        if getattr(options, name) is not None:
            raise ValueError(f"{name}: only for a bare planner; {directory} has sizes of its own")
    trained = open_run(directory, {**options.overrides(), "model": vars(options.model)})
    planners = _planners(options, available_device(trained.config))
    with cpu_threads(trained.config.train.threads):
        environment = open_environment(trained)
        try:
            return compare_run(trained, environment, planners, options.steps, options.rate)
        finally:
            environment.close()


def _title(profile: Profile) -> str:
    what = "bare planner" if profile.run is None else profile.run["task"]
    facts = {**profile.plan, **profile.compute}
    named = [name for name in ("candidates", "iterations", "threads") if name in facts]
    return f"{what}: " + ", ".join(f"{name} {facts[name]}" for name in named)


def _planners(options: ProfileOptions, device: torch.device) -> dict[str, ActingConfig]:
    """Returns the planners to time by name; what a name does not say is as in the options."""
    imaginations = {"": options.imagination}
    if options.compare is not None:
        named = options.compare.split(",")
        imaginations = {name: _imagination(options, name) for name in named}
        different = {imagination.on(device.type) for imagination in imaginations.values()}
        if len(different) < len(named):
            raise ValueError(f"compare: expected different planners, got {options.compare!r}")
    return {
        name: ActingConfig(planner=options.planner, imagination=imagination, train=options.train)
        for name, imagination in imaginations.items()
    }


def _imagination(options: ProfileOptions, name: str) -> ImaginationConfig:
    values = name.split("+")
    given: dict[str, Any] = {NAMES[value]: value for value in values if value in NAMES}
    if len(given) < len(values):
        raise ValueError(
            f"compare: expected names of {', '.join(NAMES)}, separated by commas, or joined by + "
            f"where they are of different settings, got {name!r}"
        )
    return replace(options.imagination, **given)


def _check(options: ProfileOptions) -> None:
    """Finds what would fail after the measurement, and names options as they were given."""
    for name, path in (("json", options.json), ("plot", options.plot)):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{name}: expected a file in a folder that exists, got {path}")
        if path is not None:
            replaceable(path)
    if options.plot is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise ImportError(f"--plot needs matplotlib; install it with: {advice.install_extra()}")
        picture_format(options.plot)
