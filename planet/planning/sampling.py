"""The loop of sampling planners: draw action sequences, score them, refit the distribution."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from planet import ops
from planet.errors.scalars import check_int, check_not_negative, check_positive
from planet.noise import resolve_seeds
from planet.ops import reference
from planet.ops.bounds import CheckedBound
from planet.ops.checks import (
    MAX_CANDIDATES,
    MAX_HORIZON,
    MAX_ITERATIONS,
    CEMSettings,
    check_fit,
)
from planet.planning.box import Box
from planet.planning.imagination import Imagination
from planet.protocols import Plan, Scorer


@dataclass(frozen=True)
class Sampling:
    """Says how sequences are drawn and refitted; the planners differ in these settings alone.

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences per iteration.
      iterations: I.
      topk: K, elites, 1 to J.
      initial_stddev: of the first iteration's actions, in units of half the width of the box.
      spread, epsilon: see `planet.ops.reference.refit`.

    Raises:
      TypeError, ValueError: a number is out of range; the message names it.
    """

    horizon: int
    candidates: int
    iterations: int
    topk: int
    initial_stddev: float
    spread: str
    epsilon: float

    def __post_init__(self) -> None:
        candidates = check_int("candidates", self.candidates, 1, MAX_CANDIDATES)
        topk, epsilon = check_fit(self.topk, candidates, self.spread, self.epsilon)
        checked = {
            "horizon": check_int("horizon", self.horizon, 1, MAX_HORIZON),
            "candidates": candidates,
            "iterations": check_int("iterations", self.iterations, 1, MAX_ITERATIONS),
            "topk": topk,
            "initial_stddev": check_not_negative("initial_stddev", self.initial_stddev),
            "epsilon": epsilon,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen


def search(
    sampling: Sampling,
    scorer: Scorer,
    seed: int | Tensor,
    warm: Plan | None = None,
    budget_ms: float | None = None,
) -> Plan:
    """Searches with a scorer of any kind; an `Imagination` is searched by the compiled op.

    Args:
      sampling: settings.
      scorer: scores sequences.
      seed: int, or int64 tensor [B].
      warm: refused, unless None: every search begins in the middle of the box.
      budget_ms: stop after the last iteration that fits into this many milliseconds.

    Raises:
      TypeError, ValueError: see `planet.ops.reference.cem_plan`.
    """
    if warm is not None:
        raise ValueError("warm: expected None, warm starts are not available yet")
    model = scorer if isinstance(scorer, Imagination) else None
    box = model.box if model else Box.between(scorer.low, scorer.high)
    shape = sampling.horizon, scorer.batch_size, box.low.shape[-1]
    mean, stddev = box.distribution(shape, sampling.initial_stddev)
    low, high = scorer.low, scorer.high
    if model is None:
        if budget_ms is not None:
            budget_ms = float(check_positive("budget_ms", budget_ms))
        settings = CEMSettings(
            sampling.candidates, sampling.topk, sampling.iterations, 0, low, high,
            sampling.epsilon, True, 1.0, budget_ms,
        )  # fmt: skip
        seeds = resolve_seeds(seed, scorer.batch_size, mean.device)
        return reference.cem_loop(scorer.returns, mean, stddev, seeds, settings, sampling.spread)
    plan: Plan = ops.backend(model.backend).cem_plan(
        model.weights,
        model.latent,
        mean,
        stddev,
        seed=seed,
        candidates=sampling.candidates,
        topk=sampling.topk,
        iterations=sampling.iterations,
        low=CheckedBound(low),
        high=CheckedBound(high),
        spread=sampling.spread,
        epsilon=sampling.epsilon,
        state_noise=model.state_noise,
        discount=model.discount,
        precision=model.precision,
        budget_ms=budget_ms,
        variant=model.variant,
    )
    return plan
