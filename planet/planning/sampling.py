"""The loop of sampling planners: draw action sequences, score them, refit the distribution."""

from __future__ import annotations

from torch import Tensor

from planet.noise import resolve_seeds
from planet.ops.checks import CEMSettings, check_budget
from planet.ops.loop import cem_loop
from planet.planning.box import Box
from planet.planning.imagination import Imagination
from planet.protocols import Plan, Scorer


def search(
    scorer: Scorer,
    seed: int | Tensor,
    warm: Plan | None,
    budget_ms: float | None,
    *,
    horizon: int,
    candidates: int,
    iterations: int,
    topk: int,
    initial_stddev: float,
    spread: str,
    epsilon: float,
) -> Plan:
    """Searches with a scorer of any kind; an `Imagination` is searched by the compiled op.

    Arguments are those of `planet.CEMPlanner.plan`, then the planner's checked settings.

    Raises:
      TypeError, ValueError: see `planet.ops.reference.cem_plan`.
    """
    if warm is not None:
        raise ValueError("warm: expected None, warm starts are not available yet")
    model = scorer if isinstance(scorer, Imagination) else None
    if model is None and not hasattr(scorer, "returns"):
        got = type(scorer).__name__
        raise TypeError(f"imagination: expected planet.Imagination or another scorer, got {got}")
    low, high, batch = scorer.low, scorer.high, scorer.batch_size
    box = model.box if model else Box.of(low, high, batch, low.shape[-1], low.device)
    mean, stddev = box.distribution((horizon, batch, low.shape[-1]), initial_stddev)
    if model is None:
        budget_ms = check_budget(budget_ms, mean.device)
        settings = CEMSettings(
            (candidates,) * iterations, topk, iterations, 0, spread, epsilon, True, 1.0, "fp32",
            budget_ms, "portable",
        )  # fmt: skip
        seeds = resolve_seeds(seed, batch, mean.device)
        bounds = box.low.expand(batch, -1), box.high.expand(batch, -1)
        return cem_loop(scorer.returns, mean, stddev, *bounds, seeds, settings)
    return model.search(
        mean, stddev,
        seed=seed, candidates=candidates, topk=topk, iterations=iterations, spread=spread,
        epsilon=epsilon, budget_ms=budget_ms,
    )  # fmt: skip
