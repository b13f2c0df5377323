"""Refuses what is not finite, and says where it began."""

from __future__ import annotations

from typing import NoReturn

from planet.latent import LatentState
from planet.protocols import Plan


def check_finite_latent(name: str, latent: LatentState) -> None:
    """Raises ValueError that names what is not finite, belief or state, and in which rows."""
    for part, value in vars(latent).items():
        rows = (~value.isfinite().all(dim=-1)).nonzero().flatten().tolist()
        if rows:
            raise ValueError(
                f"{name}: expected a finite {part}, got NaN or infinite in rows {rows}; reset() "
                "the agent, or assign another latent"
            )


def refuse_step(before: LatentState, after: LatentState, plan: Plan | None) -> NoReturn:
    """Raises ValueError for a step that is not finite, and says where that began.

    The snapshot that made it is finite.

    Args:
      before: latent at its start.
      after: latent after the observation.
      plan: from there; None where nothing was planned.
    """
    check_finite_latent("latent", before)
    check_finite_latent("latent after the observation", after)
    rows = [] if plan is None else (~plan.finite).nonzero().flatten().tolist()
    raise ValueError(
        f"plan: expected finite returns and actions, got NaN or infinite in rows {rows} from a "
        "finite latent; the planner's weights overflow there"
    )
