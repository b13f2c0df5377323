"""Compares the compiled planner with the reference on a small random model, for `planet doctor`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from planet.config import ModelConfig
from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import fused, reference
from planet.weights.random import random_weights
from planet.weights.rollout_weights import RolloutWeights

TOLERANCES = {"fp32": 1e-5, "int8": 1e-5, "fp16": 4e-3, "bf16": 3e-2}
"""Of the relative errors; right builds stay well below, and mistakes show as errors near 1."""

_MODEL = ModelConfig(state_size=5, belief_size=17, hidden_size=19)
_ACTIONS, _TOPK = 3, 5


@dataclass(frozen=True)
class Agreement:
    """Holds the findings of a comparison.

    Attributes:
      errors: of returns, relative, by precision.
      same_elites: whether the refit chose the reference's candidates.
    """

    errors: dict[str, float]
    same_elites: bool

    @property
    def good(self) -> bool:
        """Tells whether everything agrees within the tolerances."""
        within = (error <= TOLERANCES[precision] for precision, error in self.errors.items())
        return self.same_elites and all(within)

    def __str__(self) -> str:
        found = ", ".join(f"{precision} {error:.0e}" for precision, error in self.errors.items())
        return f"relative error {found}" + ("" if self.same_elites else ", other elites")


def compare(device: torch.device | str) -> Agreement:
    """Runs the ops of both backends: the reference on the CPU, the compiled core on `device`."""
    weights = random_weights(_MODEL, _ACTIONS)
    latent, actions = _start(2, weights), _actions()
    there = weights.to(device), latent.to(device), actions.to(device)
    errors = {}
    for precision in fused.served_precisions(device):
        # The halves are measured against float32, whose rounding is far below theirs.
        exact = "int8" if precision == "int8" else "fp32"
        expected = reference.rollout_returns(weights, latent, actions, Noise(7), precision=exact)
        got = fused.rollout_returns(*there, Noise(7), precision=precision).cpu()
        errors[precision] = _error(got, expected, precision)
    returns = reference.rollout_returns(weights, latent, actions, Noise(7))
    wanted = reference.refit(actions, returns, topk=_TOPK).elites
    elites = fused.refit(there[2], returns.to(device), topk=_TOPK).elites.cpu()
    return Agreement(errors, torch.equal(elites, wanted))


def persistent_plans(weights: RolloutWeights) -> str:
    """Says what persistent plans of the paper's CEM get on the weights' device, or why none do."""
    try:
        clusters = fused.persistent_clusters(weights, precision="fp16", topk=100)
    except ValueError as refusal:
        if not str(refusal).startswith("variant:"):
            raise
        return f"no persistent plans ({refusal})"
    return f"persistent plans in {clusters} clusters of 4, {32 * clusters} candidates a wave"


def _start(batch: int, weights: RolloutWeights) -> LatentState:
    sizes, device = (weights.belief_size, weights.state_size), weights.device
    zeros = [torch.zeros(batch, size, dtype=torch.float32, device=device) for size in sizes]
    return LatentState(*zeros)


def _actions() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = 6, 2, 33, _ACTIONS
    return torch.rand(*shape, generator=generator, dtype=torch.float32, device="cpu") * 2 - 1


def _error(got: Tensor, expected: Tensor, precision: str) -> float:
    difference = got - expected
    if precision in ("fp16", "bf16"):
        return float(difference.norm() / expected.norm())
    error = difference.abs() / expected.square().mean().sqrt().clamp(min=1e-2)
    # In int8 a rounding may fall to the other side; a mistake moves every candidate.
    return float(error.median() if precision == "int8" else error.max())
