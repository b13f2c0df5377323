"""Settings of planners: those that all have, and a class for each planner's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from planet.config.checks import check_positive, check_range, check_types

PlannerName = Literal["cem", "icem", "mppi", "shooting", "gradient"]
Spread = Literal["population", "mean_absolute"]
Numerics = Literal["unit", "icem"]
Output = Literal["mean", "best"]
Shift = Literal["none", "repeat", "middle"]

MAX_COLOURED = 1024
"""The longest horizon of coloured noise, whose matrix takes H x H numbers and time to make."""


@dataclass(frozen=True)
class PlannerConfig:
    """Holds what every planner has; each has a class of its own for the rest."""

    name: PlannerName = "cem"  # the planner, which decides on the other settings [P]
    horizon: int = 12  # H, model steps [P Alg. 2; G configs.py:250]
    low: float = -1.0  # smallest action [G planning.py:44]
    high: float = 1.0  # largest action [G planning.py:44]
    budget_ms: float | None = None  # a plan ends with the last iteration that fits; None: all I [O]
    scorer: Literal["model", "simulator"] = "model"  # what plans are made in [P Sec. 5]
    execute: int = 1  # actions of a plan until the next one; 1: MPC, H: open loop [P Alg. 2; O]

    def __post_init__(self) -> None:
        check_types(self)
        kind = PLANNER_CONFIGS[self.name]
        if not isinstance(self, kind):
            raise ValueError(
                f"name: expected settings in {kind.__name__} for {self.name!r}, "
                f"got {type(self).__name__}"
            )
        check_positive(self, "horizon", "budget_ms")
        check_execute(self.execute, self.horizon)
        if not self.low <= self.high:
            raise ValueError(f"low: expected a value <= high={self.high}, got {self.low}")


@dataclass(frozen=True)
class CEMConfig(PlannerConfig):
    """Sets up the cross-entropy method, Algorithm 2."""

    candidates: int = 1000  # J, action sequences per iteration [P; G configs.py:294]
    iterations: int = 10  # I, rounds of drawing and refitting [P; G configs.py:293]
    topk: int = 100  # K, elites [P; G configs.py:295]
    initial_stddev: float = 1.0  # of the first actions, in half widths of the box [P Alg. 2; G]
    spread: Spread = "population"  # of the refit [G planning.py]
    epsilon: float = 1e-6  # added to the refit's variance [G control/planning.py:60]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "candidates", "iterations", "topk", "initial_stddev")
        check_range(self, 0.0, None, "epsilon")
        check_elites(self.topk, self.candidates, self.spread)


@dataclass(frozen=True)
class ShootingConfig(PlannerConfig):
    """Sets up random shooting: the best of the first candidates."""

    name: PlannerName = "shooting"  # the planner, which decides on the other settings
    candidates: int = 1000  # J, action sequences [O]
    initial_stddev: float = 1.0  # of actions, in half widths of the box [O]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "candidates", "initial_stddev")


@dataclass(frozen=True)
class ICEMConfig(PlannerConfig):
    """Sets up iCEM, Pinneri et al., CoRL 2020 [I]: 120 rollouts where CEM takes 10,000."""

    name: PlannerName = "icem"  # the planner, which decides on the other settings
    candidates: int = 46  # J, action sequences of the first iteration [O]
    iterations: int = 3  # I [I]
    topk: int = 10  # K, elites [I]
    initial_stddev: float = 0.5  # of the first actions, in half widths of the box [I]
    epsilon: float = 1e-6  # added to the refit's variance [G control/planning.py:60]
    colour: float = 0.25  # exponent of the noise's power spectrum along time; 0: white [I]
    numerics: Numerics = "unit"  # the variance of coloured noise; icem: as published, 1.16 here
    keep: int = 3  # E, best sequences that are scored again in the next iteration and step [I]
    decay: float = 1.25  # iteration i draws J / decay^i sequences, 2 K or more [I]
    momentum: float = 0.1  # share of mean and stddev that a refit leaves [I]
    output: Output = "best"  # the action: of the last mean, or of the best sequence [I]
    shift: Shift = "repeat"  # how a plan starts the next one, and what follows it [I]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "candidates", "iterations", "topk", "initial_stddev")
        check_range(self, 0.0, None, "epsilon", "colour")
        check_elites(self.topk, self.candidates, "population")
        check_colour(self.horizon, self.colour, self.numerics)
        check_range(self, 0, self.topk, "keep")
        check_sequence(self.execute, self.output, self.keep)
        check_momentum(self.momentum)
        check_decay(self.candidates, self.iterations, self.topk, self.decay)


@dataclass(frozen=True)
class MPPIConfig(PlannerConfig):
    """Sets up model-predictive path integral control, with the elites of TD-MPC2 [T]."""

    name: PlannerName = "mppi"  # the planner, which decides on the other settings
    candidates: int = 512  # J, action sequences per iteration [T]
    iterations: int = 6  # I [T]
    topk: int = 64  # K, elites [T]
    temperature: float = 0.5  # of the elites' weights, in units of return [T: 1 / 0.5]
    initial_stddev: float = 1.0  # of the first actions, in half widths of the box [O; T: 2]
    epsilon: float = 1e-6  # added to the refit's variance [O]
    momentum: float = 0.0  # share of mean and stddev that a refit leaves [T]
    output: Output = "mean"  # the action: of the last mean, or of the best sequence [O]
    shift: Shift = "middle"  # how a plan starts the next one, and what follows it [T]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "candidates", "iterations", "topk", "temperature", "initial_stddev")
        check_range(self, 0.0, None, "epsilon")
        check_elites(self.topk, self.candidates, "population")
        check_sequence(self.execute, self.output, 0)
        check_momentum(self.momentum)


@dataclass(frozen=True)
class GradientConfig(PlannerConfig):
    """Sets up gradient ascent on action sequences through the model, by Adam."""

    name: PlannerName = "gradient"  # the planner, which decides on the other settings
    candidates: int = 16  # J, sequences that climb, drawn as CEM's first ones [O]
    iterations: int = 60  # I, steps of Adam [O]
    learning_rate: float = 0.2  # of the first step, in half widths of the box; falls to 0 [O]
    initial_stddev: float = 1.0  # of the first actions, in half widths of the box [O]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "candidates", "iterations", "learning_rate", "initial_stddev")


PLANNER_CONFIGS: dict[str, type[PlannerConfig]] = {
    "cem": CEMConfig,
    "icem": ICEMConfig,
    "mppi": MPPIConfig,
    "shooting": ShootingConfig,
    "gradient": GradientConfig,
}
"""The settings' class of every planner, by name."""


def other_planner(config: PlannerConfig, name: str) -> PlannerConfig:
    """Returns the defaults of the planner of a name, with what all planners have as it is.

    Raises:
      ValueError: there is none of that name.
    """
    shared = {field.name: getattr(config, field.name) for field in fields(PlannerConfig)}
    return planner_class(name)(**(shared | {"name": name}))


def planner_class(name: object) -> type[PlannerConfig]:
    """Returns the settings' class of a planner; raises ValueError where there is none."""
    if not isinstance(name, str) or name not in PLANNER_CONFIGS:
        raise ValueError(f"name: expected one of {[*PLANNER_CONFIGS]}, got {name!r}")
    return PLANNER_CONFIGS[name]


def check_execute(execute: int, horizon: int) -> None:
    """Raises ValueError unless a plan has as many actions as are to be executed."""
    if not 1 <= execute <= horizon:
        raise ValueError(f"execute: expected 1 <= execute <= horizon={horizon}, got {execute}")


def check_sequence(execute: int, output: str, keep: int) -> None:
    """Raises ValueError where a plan's first action is all that is known of its best sequence."""
    if execute > 1 and output == "best" and not keep:
        raise ValueError(
            "output: expected 'mean', or keep >= 1 sequences in which a plan has its best one, "
            f"for execute={execute}, got 'best' and keep=0"
        )


def check_elites(topk: int, candidates: int, spread: str) -> None:
    """Raises ValueError unless K of J candidates can be refitted."""
    if not 1 <= topk <= candidates:
        raise ValueError(f"topk: expected 1 <= K <= J={candidates}, got {topk}")
    if spread == "mean_absolute" and topk < 2:
        raise ValueError(f"topk: expected K >= 2 for spread='mean_absolute', got {topk}")


def check_momentum(momentum: float) -> None:
    """Raises ValueError unless a refit has an effect."""
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum: expected a value in [0, 1), got {momentum}")


def check_colour(horizon: int, colour: float, numerics: str) -> None:
    """Raises ValueError where coloured noise has no variance, or too large a matrix."""
    if colour and horizon > MAX_COLOURED:
        raise ValueError(
            f"colour: expected 0 for a horizon above {MAX_COLOURED}, as its matrix has H x H "
            f"numbers, got {colour:g} and horizon={horizon}"
        )
    if colour and numerics == "icem" and horizon < 2:
        raise ValueError(
            f"numerics: expected 'unit' for horizon={horizon}, where 'icem' knows no colour, "
            f"got {numerics!r}"
        )


def check_decay(candidates: int, iterations: int, topk: int, decay: float) -> None:
    """Raises ValueError for a decay below 1, or one that leaves fewer than 2 K candidates."""
    if not decay >= 1:
        raise ValueError(f"decay: expected a value >= 1, got {decay}")
    last = int(candidates * decay ** (1 - iterations))
    if decay > 1 and iterations > 1 and last < 2 * topk:
        raise ValueError(
            f"decay: expected at least 2 K = {2 * topk} candidates in every iteration, got {last} "
            f"in the last: {candidates} * {decay:g}^-{iterations - 1}"
        )
