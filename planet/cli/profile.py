"""`planet profile`: latency of one control step, of a run or of a bare planner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from planet.config import ModelConfig, PlannerConfig
from planet.planning import CEMPlanner
from planet.profiling import Profile, profile_planner, profile_run
from planet.random_weights import random_weights
from planet.training.run import make_environment, open_run

_PLAN = ("horizon", "candidates", "iterations", "topk")
_MODEL = ("belief_size", "state_size", "hidden_size", "reward_layers", "reward_hidden")


@dataclass(frozen=True, kw_only=True)
class ProfileOptions:
    """Times one control step: p50, p95, p99 and max of render, filter, plan, environment, total.

    Without a run, times a bare planner with random weights; what is not given has the paper's size.
    """

    run_dir: Annotated[
        Path | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[RUN_DIR]", help="a run's directory; without it: a bare planner"),
    ] = None
    steps: int = 100  # control steps, or plans, that are timed
    threads: int | None = (
        None  # of torch and the compiled core; None: the run's, or as torch has it
    )
    device: str | None = None  # None: the run's, or cpu
    backend: Literal["fused", "reference"] | None = None  # None: the run's, or fused
    json: Path | None = None  # also write the result here
    horizon: int | None = None  # H; None: the run's, or 12
    candidates: int | None = None  # J; None: the run's, or 1000
    iterations: int | None = None  # I; None: the run's, or 10
    topk: int | None = None  # K; None: the run's, or a tenth of the candidates
    batch_size: int | None = None  # B, problems per plan; bare planner only; None: 1
    action_size: int | None = None  # A; bare planner only; None: 6
    belief_size: int | None = None  # D; bare planner only; None: 200
    state_size: int | None = None  # S; bare planner only; None: 30
    hidden_size: int | None = None  # M; bare planner only; None: 200
    reward_layers: int | None = None  # bare planner only; None: 2
    reward_hidden: int | None = None  # bare planner only; None: 200


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = tyro.cli(ProfileOptions, prog="planet profile", args=arguments)
    if options.threads is not None and options.threads < 1:
        raise ValueError(f"threads: expected at least 1, got {options.threads}")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads or threads)
    try:
        profile = _bare(options) if options.run_dir is None else _trained(options, options.run_dir)
    finally:
        torch.set_num_threads(threads)
    print(profile.table())
    if options.json is not None:
        options.json.write_text(json.dumps(profile.to_dict(), indent=2) + "\n")
        print(f"\nwritten to {options.json}")
    return 0


def _bare(options: ProfileOptions) -> Profile:
    sizes = _given(options, _PLAN)
    candidates = sizes.get("candidates", PlannerConfig.candidates)
    backend = options.backend or PlannerConfig.backend
    planner = CEMPlanner(**{"topk": max(1, candidates // 10), **sizes, "backend": backend})
    model = ModelConfig(**_given(options, _MODEL))
    action_size = 6 if options.action_size is None else options.action_size
    batch_size = 1 if options.batch_size is None else options.batch_size
    weights = random_weights(model, action_size).to(options.device or "cpu")
    return profile_planner(planner, weights, batch_size, options.steps)


def _trained(options: ProfileOptions, directory: Path) -> Profile:
    fixed = _given(options, (*_MODEL, "batch_size", "action_size"))
    if fixed:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in fixed)
        raise ValueError(f"{names}: only for a bare planner; {directory} has sizes of its own")
    trained = open_run(directory, options.device, options.backend)
    trained.agent.planner = replace(trained.agent.planner, **_given(options, _PLAN))
    if options.threads is None and trained.config.train.threads:
        torch.set_num_threads(trained.config.train.threads)  # the caller sets them back
    environment = make_environment(trained.config.environment)
    try:
        return profile_run(trained, environment, options.steps)
    finally:
        environment.close()


def _given(options: ProfileOptions, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
