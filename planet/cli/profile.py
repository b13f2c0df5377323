"""`planet profile`: latency of one control step, of a run or of a bare planner."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from planet import advice
from planet.atomic import atomic_write, replaceable
from planet.cli.output import say
from planet.config import Config, ModelConfig, PlannerConfig, TrainConfig
from planet.planning import CEMPlanner
from planet.profiling import Comparison, Profile, compare_planners, compare_run, plot_latency
from planet.profiling.plot import picture_format
from planet.random_weights import random_weights
from planet.training.action_box import ActionBox
from planet.training.device import available_device
from planet.training.run import open_environment, open_run
from planet.training.threads import cpu_threads
from planet.weights import RolloutWeights

PLANNERS: dict[str, dict[str, Any]] = {
    "reference": {"backend": "reference", "precision": "fp32"},
    "fused": {"backend": "fused", "precision": "fp32"},
    "int8": {"backend": "fused", "precision": "int8"},
    "fp16": {"backend": "fused", "precision": "fp16"},
    "bf16": {"backend": "fused", "precision": "bf16"},
    "persistent": {"backend": "fused", "precision": "fp16", "variant": "persistent"},
}
"""What `--compare` can name."""

_HOW = ("backend", "precision", "variant")
_PLAN = ("horizon", "candidates", "iterations", "topk", "budget_ms")
_MODEL = ("belief_size", "state_size", "hidden_size", "reward_layers", "reward_hidden")


# What is not given is not None but something that the help says.
_Count = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
_Number = Annotated[float | None, tyro.conf.arg(metavar="X", help_behavior_hint="")]
_Text = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
_File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
_Backend = Annotated[
    Literal["fused", "reference"] | None,
    tyro.conf.arg(metavar="{fused,reference}", help_behavior_hint=""),
]
_Precision = Annotated[
    Literal["fp32", "int8", "fp16", "bf16"] | None,
    tyro.conf.arg(metavar="{fp32,int8,fp16,bf16}", help_behavior_hint=""),
]

_Variant = Annotated[
    Literal["portable", "persistent"] | None,
    tyro.conf.arg(metavar="{portable,persistent}", help_behavior_hint=""),
]


@dataclass(frozen=True, kw_only=True)
class ProfileOptions:
    """Times one control step by stage: render, filter, plan, environment, total; p50 to jitter.

    Without a run, times a bare planner with random weights; what is not given has the paper's size.
    With --compare, several planners take turns at every step on the same observations. Times are
    the host clock's; a CUDA device is synchronised before and after each stage.
    """

    run_dir: Annotated[
        Path | None,
        tyro.conf.Positional,
        tyro.conf.arg(
            metavar="[RUN_DIR]",
            help="a run's directory; without it: a bare planner",
            help_behavior_hint="",
        ),
    ] = None
    compare: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="NAME,NAME",
            help="planners to time side by side: reference, fused, and fused in int8 (on the CPU), "
            "fp16, bf16 or persistent (a variant, in fp16; on CUDA); the others are compared with "
            "the first",
            help_behavior_hint="",
        ),
    ] = None
    rate: _Number = None  # control steps per second; counts the steps that miss this deadline
    steps: int = 100  # control steps, or plans, that are timed
    json: _File = None  # also write the result here
    plot: _File = None  # also draw histograms of the latency into this PNG
    threads: _Count = None  # of torch and the compiled core; else the run's, or as torch has it
    device: _Text = None  # else the run's, or cpu
    backend: _Backend = None  # else the run's, or fused
    precision: _Precision = None  # of the planner's products; else the run's, or fp32
    variant: _Variant = None  # of CUDA kernels; else the run's, or portable
    budget_ms: _Number = None  # a plan ends with the last iteration that fits; else the run's
    horizon: _Count = None  # H; else the run's, or 12
    candidates: _Count = None  # J; else the run's, or 1000
    iterations: _Count = None  # I; else the run's, or 10
    topk: _Count = None  # K; else the run's, or a tenth of the candidates
    batch_size: _Count = None  # B, problems per plan; bare planner only; else 1
    action_size: _Count = None  # A; bare planner only; else 6
    belief_size: _Count = None  # D; bare planner only; else 200
    state_size: _Count = None  # S; bare planner only; else 30
    hidden_size: _Count = None  # M; bare planner only; else 200
    reward_layers: _Count = None  # hidden ones; bare planner only; else 2
    reward_hidden: _Count = None  # units of each; bare planner only; else 200


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = tyro.cli(ProfileOptions, prog=f"{advice.program()} profile", args=arguments)
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


def _bare(options: ProfileOptions) -> Comparison:
    sizes = _given(options, _PLAN)
    candidates = sizes.get("candidates", PlannerConfig.candidates)
    config = Config(
        model=ModelConfig(**_given(options, _MODEL)),
        planner=PlannerConfig(**{"topk": max(1, candidates // 10), **sizes}),
        train=TrainConfig(device=options.device or "cpu", threads=options.threads or 0),
    )
    action_size = 6 if options.action_size is None else options.action_size
    batch_size = 1 if options.batch_size is None else options.batch_size
    planners = _planners(config, _chosen(options), ActionBox.unit(action_size))
    weights = random_weights(config.model, action_size).to(config.train.device)
    with cpu_threads(config.train.threads):
        _try_out(planners, weights)
        return compare_planners(planners, weights, batch_size, options.steps, options.rate)


def _trained(options: ProfileOptions, directory: Path) -> Comparison:
    fixed = _given(options, (*_MODEL, "batch_size", "action_size"))
    if fixed:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in fixed)
        raise ValueError(f"{names}: only for a bare planner; {directory} has sizes of its own")
    chosen = _chosen(options)
    trained = open_run(directory, options.device, **next(iter(chosen.values())))
    planner = replace(trained.config.planner, **_given(options, _PLAN))
    planners = _planners(replace(trained.config, planner=planner), chosen, trained.actions)
    with cpu_threads(options.threads or trained.config.train.threads):
        _try_out(planners, trained.agent.weights)
        environment = open_environment(trained)
        try:
            return compare_run(trained, environment, planners, options.steps, options.rate)
        finally:
            environment.close()


def _title(profile: Profile) -> str:
    what = "bare planner" if profile.run is None else profile.run["task"]
    sizes = ", ".join(f"{name} {profile.plan[name]}" for name in ("candidates", "iterations"))
    return f"{what}: {sizes}, threads {profile.compute['threads']}"


def _chosen(options: ProfileOptions) -> dict[str, dict[str, Any]]:
    """Backend and precision of every planner to time; what is not named is the run's."""
    given = _given(options, _HOW)
    if options.compare is None:
        return {"": given}
    names = options.compare.split(",")
    if set(names) - set(PLANNERS) or len(set(names)) < len(names):
        raise ValueError(
            f"compare: expected different names of {', '.join(PLANNERS)}, separated by commas, "
            f"got {options.compare!r}"
        )
    if given:
        raise ValueError(f"--{next(iter(given))}: --compare names it; expected only one of them")
    return {name: PLANNERS[name] for name in names}


def _planners(
    config: Config, chosen: Mapping[str, dict[str, Any]], actions: ActionBox
) -> dict[str, CEMPlanner]:
    planners = {}
    for name, how in chosen.items():
        planner = replace(config.planner, **how)
        available_device(replace(config, planner=planner))
        planners[name] = actions.planner(planner, config.train.device)
    return planners


def _try_out(planners: Mapping[str, CEMPlanner], weights: RolloutWeights) -> None:
    for planner in planners.values():
        planner.try_out(weights)


def _check(options: ProfileOptions) -> None:
    """Finds what would fail after the measurement, and names options as they were given."""
    if options.threads is not None and options.threads < 1:
        raise ValueError(f"threads: expected at least 1, got {options.threads}")
    for name, path in (("json", options.json), ("plot", options.plot)):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{name}: expected a file in a folder that exists, got {path}")
        if path is not None:
            replaceable(path)
    if options.plot is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise ImportError(f"--plot needs matplotlib; install it with: {advice.install_extra()}")
        picture_format(options.plot)


def _given(options: ProfileOptions, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
