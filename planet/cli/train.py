"""`planet train`: trains an agent into a run directory, or continues a run."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from planet.acting.agent import Agent
from planet.cli.options import told, told_imagination, with_planner
from planet.cli.output import complain
from planet.cli.progress import duration, make_progress
from planet.cli.signals import ending_signals
from planet.config import Config, EnvironmentConfig, TrainConfig
from planet.config.presets import PRESETS
from planet.diagnostics.build import __version__
from planet.errors import advice
from planet.experiments.run import make_environment
from planet.protocols import Spec
from planet.systems.planet import build
from planet.training.learner import GradientLearner
from planet.training.progress import Guarded, guarded
from planet.training.trainer import Trainer

PresetName = Literal["paper", "official", "small", "v0.5", "v1.0", "v1.5"]


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Config):
    """Trains a PlaNet agent into a run directory, or continues the run in it.

    First choose a preset, a task and, with --planner NAME, a planner; then override any setting.
    The directory holds config.json, metrics.jsonl (and TensorBoard files), episodes/ and
    checkpoint.pt. Ctrl-C, SIGTERM and SIGHUP end with a checkpoint; the same command, or the
    directory alone, continues from it. Defaults are from the paper [P], from its authors' code [G],
    from the papers of iCEM [I] and TD-MPC2 [T], or our own [O].
    """

    directory: Path  # directory of the run, made if it does not exist
    preset: PresetName = "paper"  # the settings to start from
    task: str = "cheetah-run"  # DM Control "domain-task", "toy-reach", or "gym:ID" of Gymnasium
    accept_losses: bool = False  # continue although episodes or lines of metrics are lost

    def config(self) -> Config:
        """Returns the settings of the run."""
        return Config(**{field.name: getattr(self, field.name) for field in fields(Config)})


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = parse(arguments)
    config = options.config()
    progress = guarded(make_progress())
    environment = make_environment(config.environment)
    began = time.perf_counter()
    try:
        with (
            Trainer(
                config, options.directory, environment, build, progress,
                accept_losses=options.accept_losses,
            ) as trainer,
            ending_signals(trainer.stop),
        ):  # fmt: skip
            progress.message(_summary(config, trainer))
            try:
                trainer.run()
            except KeyboardInterrupt:
                _report(progress, _stopped(trainer, arguments))
                raise
    finally:
        progress.finish()
        _close(environment)
    _report(
        progress,
        f"done in {duration(time.perf_counter() - began)}: {_counters(trainer)}; look at it with:\n"
        f"  {advice.program()} evaluate {shlex.quote(str(options.directory))} --baselines",
    )
    return 0


def _report(progress: Guarded, text: str) -> None:
    """Says how a run ended, on the standard error where the output is gone."""
    progress.message(text)
    if progress.broken:
        complain(text)


def _stopped(trainer: Trainer, arguments: Sequence[str]) -> str:
    """Says how much of an interrupted run is saved, and how it goes on."""
    now = (trainer.episodes, trainer.learner.updates)
    episodes, updates = trainer.saved or (0, 0)
    lost = "" if now == (episodes, updates) else f"; lost are the steps up to {_counters(trainer)}"
    command = f"{advice.program()} {shlex.join(['train', *arguments])}"
    return (
        f"stopped and saved: {episodes} episodes, {updates} updates{lost}; "
        f"continue with:\n  {command}"
    )


def _close(environment: Any) -> None:
    """Closes the environment, whose workers may have died of the same Ctrl-C."""
    try:
        environment.close()
    except Exception as error:
        complain(f"planet train: the environment did not close: {type(error).__name__}: {error}")


def parse(arguments: Sequence[str]) -> TrainOptions:
    """Reads the options; preset and task decide the defaults of all others.

    A directory that holds a run gives the defaults itself when neither is named.
    """
    early = argparse.ArgumentParser(prog="planet train", add_help=False, allow_abbrev=False)
    for name in ("--preset", "--task", "--directory"):
        early.add_argument(name)
    known, _ = early.parse_known_args(arguments)
    if known.directory == "":  # a shell variable that is not set; the path would be the present one
        raise ValueError("directory: expected a path, got an empty one")
    kept = Path(known.directory or ".") / "config.json"
    if known.directory and kept.exists() and known.preset is None and known.task is None:
        base = Config.load(kept)
    else:
        preset = PRESETS.get(known.preset, PRESETS["paper"])
        base = preset(known.task) if known.task else preset()
    arguments, base = with_planner("train", arguments, base)
    default = TrainOptions(
        **vars(base),
        directory=tyro.MISSING,
        preset=known.preset if known.preset in PRESETS else TrainOptions.preset,
        task=base.environment.task,
    )
    return tyro.cli(TrainOptions, prog=f"{advice.program()} train", args=arguments, default=default)


def _summary(config: Config, trainer: Trainer) -> str:
    """Sums up the run's settings in a few lines."""
    environment, train = config.environment, config.train
    assert isinstance(trainer.learner, GradientLearner)
    parameters = sum(p.numel() for p in trainer.learner.model.parameters())
    repeat = getattr(trainer.environment, "action_repeat", environment.action_repeat)
    later = train.episodes - train.seed_episodes
    collected = "collect an episode" if train.collect == "online" else "a random episode"
    lines = [
        f"planet {__version__}: {environment.task} into {trainer.directory}",
        f"  environment  action repeat {repeat}, {_seen(environment, trainer.spec)}",
        f"  model        belief {config.model.belief}, state {config.model.state_size}, "
        f"{parameters:,} parameters on {train.device}",
        f"  planner      {told(config.planner)}",
        f"  imagination  {told_imagination(_agent(trainer))}",
        f"  updates      {_updates(train)}",
        f"  schedule     {train.seed_episodes} random episodes, {train.initial_updates} updates, "
        f"then {later} times: {collected}, {train.updates_per_episode} updates; seed {train.seed}",
    ]
    if train.device == "cpu" and torch.cuda.is_available():
        lines.append("  a CUDA device is there and not used; add: --train.device cuda")
    if trainer.episodes:
        lines.append(f"continues from the checkpoint: {_counters(trainer)}")
    return "\n".join(lines)


def _seen(environment: EnvironmentConfig, spec: Spec) -> str:
    """Names what the agent sees."""
    size, render, frames = environment.image_size, environment.render_size, environment.frames
    arrays = spec.observation.items()
    texts = [f"{shape[0]} numbers in {name}" for name, (_, shape) in arrays if name != "image"]
    if "image" in spec.observation:
        stack = "" if frames == 1 else f", {frames} frames"
        drawn = "" if render == size else f" averaged down from {render}x{render}"
        texts.insert(0, f"{size}x{size} pixels{stack}{drawn}, quality {environment.quality}")
    return ", ".join(texts)


def _updates(train: TrainConfig) -> str:
    """Names what updates are computed by, and what of it the settings left open."""
    kind = torch.device(train.device).type
    text = f"backend {train.on(kind).backend}, precision {train.precision}"
    text += "" if train.backend else f" (backend chosen for {kind})"
    if kind == "cuda":
        how = "a resumed run repeats bit for bit" if train.deterministic else "cuDNN's fastest"
        text += f"; deterministic {train.deterministic}: {how}"
    return text


def _agent(trainer: Trainer) -> Agent:
    """Returns what acts after the seed episodes."""
    agent = trainer.learner.policy(max(trainer.episodes, trainer.config.train.seed_episodes))
    assert isinstance(agent, Agent)
    return agent


def _counters(trainer: Trainer) -> str:
    return f"{trainer.episodes} episodes, {trainer.learner.updates} updates"
