"""`planet fit`: trains a world model from recorded episodes, without an environment."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from planet.cli.progress import duration, make_progress
from planet.cli.train import PresetName
from planet.config import Config, ImaginationConfig, ModelConfig, TrainConfig
from planet.config.presets import PRESETS
from planet.errors import advice
from planet.experiments.fit import fit
from planet.experiments.recorded import UNNAMED, Recorded, open_recorded
from planet.training.progress import guarded

_DECIDED = ("episodes", "seed_episodes", "evaluation_interval")  # by the data


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Trains the world model of a run from recorded episodes, or continues; needs no environment.

    The episodes are those of a folder that `planet replay import` made, or of another run. Some are
    held out; of them the errors of open-loop predictions are told by distance, and written as the
    last line of metrics.jsonl. The run is one as `planet train` makes it, for evaluate, export and
    profile; its task is the one that the episodes name, or --task. Ctrl-C, SIGTERM and SIGHUP end
    with a checkpoint; the same command continues from it.
    """

    data: Path  # folder of the episodes, or another run
    directory: Path  # directory of the run, made if it does not exist
    preset: PresetName = "paper"  # the settings to start from
    task: str | None = None  # to be acted in later; None: the one that all episodes name
    validation: float = 0.1  # share of the episodes that are held out, at least one; by the seed
    updates: int | None = None  # gradient steps; None: train.initial_updates
    low: tuple[float, ...] | None = None  # smallest actions; None: as the metadata say, else -1
    high: tuple[float, ...] | None = None  # largest actions; None: as the metadata say, else 1
    model: ModelConfig = field(default_factory=ModelConfig)
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options, kept = parse(arguments)
    data = open_recorded(
        options.data, validation=options.validation, seed=options.train.seed,
        low=options.low, high=options.high,
    )  # fmt: skip
    config = _config(options, kept, data)
    progress, began = guarded(make_progress()), time.perf_counter()
    progress.message(
        f"{data.task}: {len(data.training)} episodes to learn from, {len(data.validation)} held "
        f"out, into {options.directory}; {config.train.initial_updates} updates"
    )
    try:
        result = fit(config, options.directory, data, progress=progress)
    except KeyboardInterrupt:
        command = f"{advice.program()} {shlex.join(['fit', *arguments])}"
        progress.message(f"stopped and saved; continue with:\n  {command}")
        raise
    finally:
        progress.finish()
    progress.message(
        f"done in {duration(time.perf_counter() - began)}; errors of open-loop predictions on "
        f"{result.chunks} held-out chunks:\n{result.table()}"
    )
    return 0


def parse(arguments: Sequence[str]) -> tuple[FitOptions, Config | None]:
    """Reads the options; the preset, or the run in the directory, decides the defaults of others.

    Returns:
      The options, and the settings of the run where they are the defaults.
    """
    early = argparse.ArgumentParser(prog="planet fit", add_help=False, allow_abbrev=False)
    for name in ("--preset", "--task", "--directory"):
        early.add_argument(name)
    known, _ = early.parse_known_args(arguments)
    settings = Path(known.directory or ".") / "config.json"
    fresh = known.preset is not None or known.task is not None
    kept = Config.load(settings) if known.directory and not fresh and settings.exists() else None
    base = kept or PRESETS.get(known.preset, PRESETS["paper"])(known.task or UNNAMED)
    default = FitOptions(
        data=tyro.MISSING,
        directory=tyro.MISSING,
        preset=known.preset if known.preset in PRESETS else FitOptions.preset,
        model=base.model,
        imagination=base.imagination,
        train=base.train,
    )
    program = f"{advice.program()} fit"
    options = tyro.cli(FitOptions, prog=program, args=arguments, default=default)
    for name in _DECIDED:
        if (got := getattr(options.train, name)) != getattr(base.train, name):
            raise ValueError(f"train.{name}: expected none, as the data decide it, got {got}")
    if options.updates is not None:
        if options.train.initial_updates != base.train.initial_updates:
            raise ValueError("updates: expected it or train.initial_updates, got both")
        train = replace(options.train, initial_updates=options.updates)
        options = replace(options, train=train)
    return options, kept


def _config(options: FitOptions, kept: Config | None, data: Recorded) -> Config:
    base = kept or PRESETS[options.preset](options.task or data.task)
    return replace(
        base,
        environment=data.environment(base.environment),
        model=options.model,
        imagination=options.imagination,
        train=options.train,
    )
