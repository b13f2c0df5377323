"""`planet profile`: times the control steps of a run's agent, or of an untrained one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from planet.acting.agent import Agent
from planet.cli.options import parse_options
from planet.cli.output import complain, say
from planet.config import (
    PLANNER_CONFIGS,
    ActingConfig,
    Config,
    ImaginationConfig,
    ModelConfig,
    choices,
)
from planet.config.planner import other_planner
from planet.diagnostics.packages import is_installed
from planet.diagnostics.source import source_facts
from planet.errors import advice
from planet.errors.scalars import check_positive
from planet.experiments.run import open_environment, open_run
from planet.profiling import (
    Comparison,
    Profile,
    Session,
    measure_session,
    plot_latency,
    run_session,
    untrained_session,
)  # fmt: skip
from planet.profiling.against import check_comparable
from planet.profiling.against_table import against_table
from planet.profiling.file import load_profile, save_profile
from planet.profiling.measure import check_pace
from planet.profiling.plot import picture_format
from planet.profiling.quantiles import values_needed
from planet.profiling.session import first_observations
from planet.profiling.table import table, told
from planet.profiling.trace import write_trace
from planet.storage.atomic import replaceable
from planet.training.device import available_device
from planet.training.threads import cpu_threads

_SIZES = ("batch_size", "action_size")  # that a run decides
_TRACED = 10  # steps
_PACKAGES = {"json": "pyperf", "against": "pyperf", "plot": "matplotlib"}
NAMES = {
    choice: field.name
    for field in fields(ImaginationConfig)
    for choice in choices(ImaginationConfig, field.name)
}
"""Setting of the imagination that a name of `--compare` is a value of, if of no planner."""


def _optional(metavar: str, text: str | None = None) -> Any:
    """Makes an option whose default is not None but something that the help says."""
    return tyro.conf.arg(metavar=metavar, help=text, help_behavior_hint="")


_Count = Annotated[int | None, _optional("N")]
_Number = Annotated[float | None, _optional("X")]
_File = Annotated[Path | None, _optional("FILE")]
_RUN = _optional("[RUN_DIR]", "the run's directory; without one, an untrained agent is timed")
_NAMES = _optional(
    "NAME,NAME",
    "what to time side by side, the others against the first: planners "
    f"({', '.join(PLANNER_CONFIGS)}), values of the imagination's settings ({', '.join(NAMES)}), "
    "or several joined: icem+bf16",
)


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(ActingConfig):
    """Times control steps, from the frame to the action, and the stages inside them.

    Without a run, an untrained agent of the model's sizes acts on random frames. With --compare,
    several agents take turns at every step on the same frames. --planner NAME chooses a planner and
    the defaults of its own settings. What spoiled the figures, such as others on the same cores, is
    told below them.
    """

    run_dir: Annotated[Path | None, tyro.conf.Positional, _RUN] = None
    compare: Annotated[str | None, _NAMES] = None
    rate: _Number = None  # control steps per second; steps that miss this deadline are counted
    paced: bool = False  # start every step with a period of the rate, as a robot does
    steps: int = 100  # control steps to time; a p95 needs 72, a p99 368
    against: _File = None  # compare with a file that --json wrote earlier
    fail_over_ms: _Number = None  # end with status 1 if the p99 of act is above this
    json: _File = None  # also write all samples here, a file of pyperf
    plot: _File = None  # also draw every step, histograms and stages into this picture
    trace: _File = None  # also trace ten steps of the (first) agent, for ui.perfetto.dev
    batch_size: _Count = None  # B, frames per step of an untrained agent; 1 if not given
    action_size: _Count = None  # A, of an untrained agent; 6 if not given
    model: ModelConfig = field(default_factory=ModelConfig)


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = parse_options("profile", arguments, _default)
    _check(options)
    before = None if options.against is None else load_profile(options.against)
    now = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")
    command = f"planet profile {shlex.join(arguments)}".strip()
    source = {**source_facts(), "date": now, "command": command}
    with _session(options) as session:
        if before is not None:
            check_comparable(before, session)
        agent = None if options.trace is None else _traced(session)
        comparison = measure_session(session, options.steps, options.rate, options.paced)
        comparison = replace(comparison, source=source)
        shown = _report(options, comparison, before)
        if agent is not None and options.trace is not None:
            seen = first_observations(agent, session.world, _TRACED)
            write_trace(options.trace, agent, seen, _TRACED)
            say(f"\ntraced into {options.trace}; it opens in https://ui.perfetto.dev")
    over = _over(comparison, options.fail_over_ms)
    for text in over:
        complain(f"planet profile: {text}")
    return 0 if shown and not over else 1


def _report(options: ProfileOptions, comparison: Comparison, before: Comparison | None) -> bool:
    """Prints and writes what was measured; returns whether it could be printed."""
    shown = say(table(comparison))
    if before is not None:
        say(f"\n{against_table(before, comparison, str(options.against))}")
    if options.json is not None:
        save_profile(comparison, options.json)
        say(f"\nwritten to {options.json}")
    if options.plot is not None:
        plot_latency(comparison, options.plot, _title(comparison.first))
        say(f"\ndrawn into {options.plot}")
    return shown


def _traced(session: Session) -> Agent:
    """Returns the first policy, whose steps are traced."""
    policy = next(iter(session.policies.values()))
    if not isinstance(policy, Agent):
        raise TypeError(f"trace: expected an agent that plans, got {type(policy).__name__}")
    return policy


def _over(comparison: Comparison, limit_ms: float | None) -> list[str]:
    """Returns a sentence for every policy whose p99 is above the limit."""
    found = []
    for name, profile in comparison.profiles.items() if limit_ms is not None else ():
        p99 = profile.act.percentiles[99]
        assert p99 is not None and limit_ms is not None  # `_check` asked for enough steps
        if p99.value > limit_ms:
            whose = f" of {name}" if name else ""
            found.append(f"the p99 of act{whose} is {told(p99)} ms, above {limit_ms:g} ms")
    return found


def _default(config: Config) -> ProfileOptions:
    return ProfileOptions(model=config.model, **vars(ActingConfig.of(config)))


@contextmanager
def _session(options: ProfileOptions) -> Iterator[Session]:
    """Makes what is to be timed, on the threads of the settings."""
    if options.run_dir is None:
        config = Config(model=options.model).with_overrides(options.overrides())
        planners = _planners(options, available_device(config))
        given = {name: getattr(options, name) for name in _SIZES}
        sizes = {name: value for name, value in given.items() if value is not None}
        with cpu_threads(config.train.threads):
            yield untrained_session(planners, config, **sizes)
        return
    for name in _SIZES:
        if getattr(options, name) is not None:
            raise ValueError(
                f"{name}: only for an untrained agent; {options.run_dir} has sizes of its own"
            )
    trained = open_run(options.run_dir, {**options.overrides(), "model": vars(options.model)})
    planners = _planners(options, available_device(trained.config))
    with cpu_threads(trained.config.train.threads), closing(open_environment(trained)) as world:
        yield run_session(trained, world, planners)


def _title(profile: Profile) -> str:
    what = "untrained agent" if profile.run is None else profile.run["task"]
    facts = {**profile.plan, **profile.compute}
    named = [name for name in ("candidates", "iterations", "threads") if name in facts]
    return f"{what}: " + ", ".join(f"{name} {facts[name]}" for name in named)


def _planners(options: ProfileOptions, device: torch.device) -> dict[str, ActingConfig]:
    """Returns the planners to time by name; what a name does not say is as in the options."""
    given = ActingConfig(
        planner=options.planner, imagination=options.imagination, train=options.train
    )
    if options.compare is None:
        return {"": given}
    named = options.compare.split(",")
    planners = {name: _named(given, name) for name in named}
    different = {(each.planner, each.imagination.on(device.type)) for each in planners.values()}
    if len(different) < len(named):
        raise ValueError(f"compare: expected different planners, got {options.compare!r}")
    return planners


def _named(given: ActingConfig, name: str) -> ActingConfig:
    """Returns settings with what a name of `--compare` says."""
    values = name.split("+")
    kinds = [value for value in values if value in PLANNER_CONFIGS]
    changed: dict[str, Any] = {NAMES[value]: value for value in values if value in NAMES}
    if len(kinds) > 1 or len(kinds) + len(changed) < len(values):
        known = ", ".join([*PLANNER_CONFIGS, *NAMES])
        raise ValueError(
            f"compare: expected names of {known}, separated by commas, or joined by + "
            f"where they are of different settings, got {name!r}"
        )
    planner = given.planner
    if kinds and kinds[0] != planner.name:
        planner = other_planner(planner, kinds[0])
    return replace(given, planner=planner, imagination=replace(given.imagination, **changed))


def _check(options: ProfileOptions) -> None:
    """Finds what would fail after the measurement, and names options as they were given."""
    check_pace(options.steps, options.rate, options.paced)
    needed = values_needed(0.99)
    if options.fail_over_ms is not None:
        check_positive("fail_over_ms", options.fail_over_ms)
        if options.steps < needed:
            raise ValueError(
                f"steps: expected a value >= {needed}, which the p99 of fail_over_ms takes, got "
                f"{options.steps}"
            )
    for name, package in _PACKAGES.items():
        if getattr(options, name) is not None and not is_installed(package):
            extra = advice.install_extra()
            option = name.replace("_", "-")
            raise ImportError(f"--{option} needs {package}; install it with: {extra}")
    written: dict[Path, str] = {}
    for name in ("json", "plot", "trace"):
        path = getattr(options, name)
        other = name if path is None else written.setdefault(path.resolve(), name)
        if other != name:
            raise ValueError(f"{name}: expected another file than {other}, got {path}")
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{name}: expected a file in a folder that exists, got {path}")
        if path is not None:
            replaceable(path)
    if options.plot is not None:
        picture_format(options.plot)
