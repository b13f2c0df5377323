"""Checks of the ops' arguments, shared by every backend so that errors read the same.

Only sizes, dtypes and devices are looked at: data is never scanned, no device is synchronised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from planet.config import CEMConfig, ImaginationConfig, choices
from planet.config.planner import check_elites
from planet.errors.checks import check_choice, check_device, check_dims, check_shape, check_type
from planet.errors.scalars import (
    check_between,
    check_bool,
    check_float,
    check_int,
    check_not_negative,
    check_positive,
    whole_number,
)  # fmt: skip
from planet.latent import LatentState
from planet.noise import Noise, check_seeds
from planet.ops.bounds import Bound, expand_bounds
from planet.weights.filter_weights import FilterWeights
from planet.weights.rollout_weights import RolloutWeights

MAX_HORIZON = (1 << 16) - 1
MAX_ITERATIONS = 1 << 16
MAX_CANDIDATES = (1 << 31) - 1
SPREADS = choices(CEMConfig, "spread")
PRECISIONS = choices(ImaginationConfig, "precision")  # in the order of csrc/model.h
OUTPUTS = "mean", "best"  # in the order of csrc/cem.h
VARIANTS = choices(ImaginationConfig, "variant")  # in the order of csrc/cem.h
"""Of the CUDA kernels that run a plan. Nothing is chosen by itself.

portable: a rollout and a refit per iteration; every device and size.

persistent: one launch per plan, its weights resident on the chip; compute capability 9.0 and newer,
models that fit, few problems. Results agree with portable within the precision's tolerance.
"""


def check_rollout(
    weights: RolloutWeights,
    latent: LatentState,
    actions: Tensor,
    noise: Noise | Tensor | None,
    discount: float,
    precision: str,
) -> float:
    """Checks the arguments of `rollout_returns`, and returns the discount as a float."""
    check_type("weights", weights, RolloutWeights)
    _check_tensor("actions", actions, "[H, B, J, A]")
    horizon, batch, candidates, _ = actions.shape
    _check_sizes("actions", actions, "[H, B, J, A]")
    _check_horizon("actions", horizon)
    expected = (horizon, batch, candidates, weights.action_size)
    check_shape("actions", actions, expected, "[H, B, J, A]")
    check_device("actions", actions, weights.device)
    check_latent(weights, latent, batch, candidates)
    if isinstance(noise, Tensor):
        _check_tensor("noise", noise, "[H, B, J, S]")
        check_shape("noise", noise, (*actions.shape[:3], weights.state_size), "[H, B, J, S]")
        check_device("noise", noise, weights.device)
    elif isinstance(noise, Noise):
        if isinstance(noise.seed, Tensor):
            check_seeds(noise.seed, batch, weights.device, "noise.seed")
    elif noise is not None:
        raise TypeError(
            f"noise: expected Noise, a tensor [H, B, J, S] or None, got {type(noise).__name__}"
        )
    check_precision(precision)
    return float(check_float("discount", discount))


def check_refit(
    actions: Tensor,
    returns: Tensor,
    topk: int,
    spread: str,
    epsilon: float,
    temperature: float | None,
) -> tuple[int, float, float | None]:
    """Checks the arguments of `refit`, and returns its numbers in Python's types."""
    _check_tensor("actions", actions, "[H, B, J, A]")
    _check_sizes("actions", actions, "[H, B, J, A]")
    _check_tensor("returns", returns, "[B, J]")
    check_shape("returns", returns, tuple(actions.shape[1:3]), "[B, J]")
    check_device("returns", returns, actions.device)
    temperature = check_temperature(temperature, spread)
    return *check_fit(topk, actions.shape[2], spread, epsilon), temperature


@dataclass(frozen=True)
class CEMSettings:
    """Holds the settings of a `cem_plan` in the order of its arguments.

    Checked, `candidates` has a number for every iteration.
    """

    candidates: Any
    topk: int
    iterations: int
    first_iteration: int
    spread: str
    epsilon: float
    state_noise: bool
    discount: float
    precision: str
    budget_ms: float | None
    variant: str
    keep: int = 0
    momentum: float = 0.0
    temperature: float | None = None
    output: str = "mean"


def check_cem_plan(
    weights: RolloutWeights,
    latent: LatentState,
    mean: Tensor,
    stddev: Tensor,
    low: Bound,
    high: Bound,
    mix: Tensor | None,
    kept: Tensor | None,
    given: CEMSettings,
) -> tuple[Tensor, Tensor, CEMSettings]:
    """Checks the arguments of `cem_plan` (its seed is checked where it is resolved).

    Returns:
      Bounds as tensors [B, A], and the settings in Python's types.
    """
    check_type("weights", weights, RolloutWeights)
    _check_tensor("mean", mean, "[H, B, A]")
    _check_sizes("mean", mean, "[H, B, A]")
    horizon, batch, _ = mean.shape
    _check_horizon("mean", horizon)
    check_shape("mean", mean, (horizon, batch, weights.action_size), "[H, B, A]")
    check_device("mean", mean, weights.device)
    _check_tensor("stddev", stddev, "[H, B, A]")
    check_shape("stddev", stddev, tuple(mean.shape), "[H, B, A]")
    check_device("stddev", stddev, weights.device)
    iterations = check_int("iterations", given.iterations, 1, MAX_ITERATIONS)
    first = check_int("first_iteration", given.first_iteration, 0, MAX_ITERATIONS)
    if first + iterations > MAX_ITERATIONS:
        raise ValueError(
            f"first_iteration: expected first_iteration + iterations <= {MAX_ITERATIONS}, "
            f"got {first} + {iterations}"
        )
    counts = check_counts(given.candidates, iterations)
    topk, epsilon = check_fit(given.topk, min(counts), given.spread, given.epsilon)
    keep = check_keep(given.keep, topk)
    check_latent(weights, latent, batch, counts[0])
    if latent.belief.dim() == 3 and (keep or len(set(counts)) > 1):
        name, got = ("keep", keep) if keep else ("candidates", list(counts))
        raise ValueError(
            f"{name}: expected {0 if keep else 'the same number in every iteration'} with a start "
            f"per candidate, latent.belief [B, J, D], got {got}"
        )
    _check_sequences(mean, mix, kept, keep)
    lower, upper = expand_bounds(low, high, mean)
    state_noise = check_bool("state_noise", given.state_noise)
    discount = float(check_float("discount", given.discount))
    check_precision(given.precision)
    check_variant(given.variant)
    check_choice("output", given.output, OUTPUTS)
    budget_ms = check_budget(given.budget_ms, mean.device)
    return lower, upper, CEMSettings(
        counts, topk, iterations, first, given.spread, epsilon, state_noise, discount,
        given.precision, budget_ms, given.variant, keep, check_momentum(given.momentum),
        check_temperature(given.temperature, given.spread), given.output,
    )  # fmt: skip


def check_filter_step(
    weights: FilterWeights,
    latent: LatentState,
    action: Tensor,
    observation: Tensor,
    seeds: Tensor,
) -> None:
    """Checks the arguments of `filter_step`."""
    check_type("weights", weights, FilterWeights)
    size, device = weights.image_size, weights.device
    _check_tensor("observation", observation, "[B, h, w, 3]", dtype=torch.uint8)
    batch = observation.shape[0]
    if batch < 1:
        raise ValueError("observation: expected B >= 1 in [B, h, w, 3], got 0")
    check_shape("observation", observation, (batch, size, size, 3), "[B, h, w, 3]")
    check_device("observation", observation, device, "weights")
    check_latent(weights.rollout, latent, batch, None)
    _check_tensor("action", action, "[B, A]")
    check_shape("action", action, (batch, weights.rollout.action_size), "[B, A]")
    check_device("action", action, device, "weights")
    check_type("seeds", seeds, Tensor)
    check_seeds(seeds, batch, device, "seeds")


def check_start(weights: RolloutWeights, latent: LatentState) -> int:
    """Checks what a planner reads of its arguments, and returns B; the op checks the rest."""
    check_type("weights", weights, RolloutWeights)
    check_type("latent", latent, LatentState)
    layouts = "[B, D]", "[B, J, D]"
    _check_tensor("latent.belief", latent.belief, *layouts)
    if weights.belief_size:
        _check_sizes("latent.belief", latent.belief, *layouts)
    elif 0 in latent.belief.shape[:-1]:  # D = 0 for ssm
        shape = list(latent.belief.shape)
        raise ValueError(
            f"latent.belief: expected B >= 1 and J >= 1 in {' or '.join(layouts)}, got {shape}"
        )
    return latent.belief.shape[0]


def check_budget(budget_ms: float | None, device: torch.device) -> float | None:
    """Checks a plan's milliseconds, which only plans on a CPU keep."""
    if budget_ms is None:
        return None
    if device.type != "cpu":
        raise ValueError(f"budget_ms: only available on cpu, got tensors on {device}")
    return float(check_positive("budget_ms", budget_ms))


def check_latent(
    weights: RolloutWeights, latent: LatentState, batch: int, candidates: int | None
) -> None:
    """Checks a start latent: [B, D] and [B, S], or one per candidate [B, J, D] and [B, J, S].

    Without `candidates` it must be the former.
    """
    check_type("latent", latent, LatentState)
    belief, state = latent.belief, latent.state
    parts = ("belief", belief, weights.belief_size, "D"), ("state", state, weights.state_size, "S")
    for part, value, size, letter in parts:
        name = f"latent.{part}"
        layouts: list[tuple[str, tuple[int, ...]]] = [(f"[B, {letter}]", (batch, size))]
        if candidates is not None:
            layouts += [(f"[B, J, {letter}]", (batch, candidates, size))]
        _check_tensor(name, value, *(layout for layout, _ in layouts))
        layout, shape = layouts[belief.dim() - 2]
        if value.dim() != belief.dim():
            raise ValueError(
                f"{name}: expected shape {layout} like latent.belief, got {list(value.shape)}"
            )
        check_shape(name, value, shape, layout)
        check_device(name, value, weights.device)


def check_precision(precision: str) -> None:
    """Checks that the arithmetic asked for exists."""
    check_choice("precision", precision, PRECISIONS)


def check_variant(variant: str) -> None:
    """Checks that there is such a variant."""
    check_choice("variant", variant, VARIANTS)


def check_fit(topk: int, candidates: int, spread: str, epsilon: float) -> tuple[int, float]:
    """Checks the settings of a refit to K of J candidates, and returns topk and epsilon."""
    topk = whole_number("topk", topk)
    check_choice("spread", spread, SPREADS)
    check_elites(topk, candidates, spread)
    epsilon = check_float("epsilon", epsilon)
    check_between("epsilon", epsilon, 0)
    return topk, float(epsilon)


def check_counts(candidates: int | Sequence[int], iterations: int) -> tuple[int, ...]:
    """Returns J of every iteration, of one number for all or one for each."""
    if not isinstance(candidates, Sequence):
        return (check_int("candidates", candidates, 1, MAX_CANDIDATES),) * iterations
    counts = tuple(check_int("candidates", count, 1, MAX_CANDIDATES) for count in candidates)
    if len(counts) != iterations:
        raise ValueError(
            f"candidates: expected one number for each of {iterations} iterations, got "
            f"{len(counts)}"
        )
    return counts


def check_keep(keep: int, topk: int) -> int:
    """Checks how many elites join the next iteration."""
    return check_int("keep", keep, 0, topk)


def check_momentum(momentum: float) -> float:
    """Checks the share of the distribution before in a refit's."""
    value = check_not_negative("momentum", momentum)
    if value >= 1.0:
        raise ValueError(f"momentum: expected a value in [0, 1), got {momentum}")
    return value


def check_temperature(temperature: float | None, spread: str) -> float | None:
    """Checks the temperature of a refit's weights; None: all weigh alike."""
    if temperature is None:
        return None
    if spread != "population":
        raise ValueError(f"temperature: expected None with spread={spread!r}, got {temperature}")
    return check_positive("temperature", temperature)


def _check_sequences(mean: Tensor, mix: Tensor | None, kept: Tensor | None, keep: int) -> None:
    """Checks the tensors of `cem_plan` that may be None."""
    horizon, batch, size = mean.shape
    layouts = ("mix", mix, "[H, H]", (horizon, horizon)), (
        "kept", kept, "[H, B, E, A]", (horizon, batch, keep, size)
    )  # fmt: skip
    for name, value, layout, shape in layouts:
        if value is not None:
            _check_tensor(name, value, layout)
            check_shape(name, value, shape, layout)
            check_device(name, value, mean.device, "mean")


def _check_horizon(name: str, horizon: int) -> None:
    if horizon > MAX_HORIZON:
        raise ValueError(f"{name}: expected a horizon H <= {MAX_HORIZON}, got {horizon}")


def _check_tensor(
    name: str, value: object, *layouts: str, dtype: torch.dtype = torch.float32
) -> None:
    if not isinstance(value, Tensor):
        expected = " or ".join(layouts)
        raise TypeError(f"{name}: expected a tensor {expected}, got {type(value).__name__}")
    check_dims(name, value, *layouts)
    if value.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, got {value.dtype}")
    if value.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got {value.layout}")


def _check_sizes(name: str, value: Tensor, *layouts: str) -> None:
    if 0 in value.shape:
        expected = " or ".join(layouts)
        raise ValueError(f"{name}: expected sizes >= 1 in {expected}, got {list(value.shape)}")
