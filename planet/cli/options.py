"""Reads the options of commands that act with a trained agent: its settings are their defaults."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import tyro

from planet.acting.agent import Agent
from planet.config import PLANNER_CONFIGS, Config
from planet.config.planner import other_planner
from planet.errors import advice

RunDirectory = Annotated[
    Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR", help="the run's directory")
]

_PLANNER = "--planner", "--planner.name"


class _Options(Protocol):
    @property
    def run_dir(self) -> Path | None: ...


Options = TypeVar("Options", bound=_Options)


def parse_options(
    command: str, arguments: Sequence[str], default: Callable[[Config], Options]
) -> Options:
    """Reads the options of a command, with the settings of the run that is named as defaults.

    Args:
      command: its name.
      arguments: of the command.
      default: makes the command's options with the settings of a run as values.

    Raises:
      ValueError, OSError: the run's settings cannot be read, or several runs are named.
    """
    pairs = zip(["", *arguments], arguments, strict=False)  # a run may be called as its planner is
    paths = (path for option, path in pairs if option not in _PLANNER)
    named = next((path for path in paths if _is_run(path)), None)
    config = Config() if named is None else Config.load(Path(named) / "config.json")
    arguments, config = with_planner(command, arguments, config)
    start = default(config)
    program = f"{advice.program()} {command}"
    options = tyro.cli(type(start), prog=program, args=arguments, default=start)
    if named is not None and options.run_dir != Path(named):
        raise ValueError(f"run_dir: expected the directory of one run, got {named} too")
    return options


def with_planner(
    command: str, arguments: Sequence[str], config: Config
) -> tuple[list[str], Config]:
    """Reads `--planner NAME`, which takes the defaults of that planner's own settings.

    Args:
      command: its name.
      arguments: of the command.
      config: the settings without it.

    Returns:
      Arguments in which it is the setting `--planner.name`, and settings for that planner.
    """
    early = argparse.ArgumentParser(
        f"{advice.program()} {command}", add_help=False, usage="", allow_abbrev=False
    )
    early.add_argument(*_PLANNER, dest="name")
    name = early.parse_known_args(arguments)[0].name
    if name in PLANNER_CONFIGS and name != config.planner.name:
        config = replace(config, planner=other_planner(config.planner, name))
    whole = {"--planner": "--planner.name"}
    parts = (argument.partition("=") for argument in arguments)
    return ["".join((whole.get(option, option), *rest)) for option, *rest in parts], config


def told(settings: Any) -> str:
    """Names settings and their values as people read them."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in vars(settings).items())


def told_imagination(agent: Agent) -> str:
    """Names how an agent's model is rolled out, and what of it the settings left open."""
    made = agent.imagination
    open_ones = " and ".join(n for n, value in vars(agent.settings).items() if value is None)
    device = agent.world_model.device.type
    return told(made.settings) + (f" ({open_ones} chosen for {device})" if open_ones else "")


def _is_run(argument: str) -> bool:
    return bool(argument) and os.path.isfile(os.path.join(argument, "config.json"))
