"""Says how alike two vectors of returns are for the same candidates, and what float64 returns."""

from __future__ import annotations

import torch
from baselines.torch_cem import TorchCEM
from torch import Tensor

from planet.latent import LatentState
from planet.weights.rollout_weights import RolloutWeights


def exact_returns(
    weights: RolloutWeights, latent: LatentState, actions: Tensor, noise: Tensor
) -> Tensor:
    """Returns [B, J], float64, of actions [H, B, J, A] and standard normals [H, B, J, S]."""
    return TorchCEM(weights, "cell", dtype=torch.float64).rollout(latent, actions, noise)


def relative_l2(got: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return ((got.double() - expected).norm() / expected.double().norm()).item()


def elite_overlap(got: Tensor, expected: Tensor, topk: int) -> float:
    """Share of the K best of each row [J] that are the same."""
    chosen = [values.topk(topk).indices for values in (got, expected)]
    pairs = zip(*(rows.reshape(-1, topk).tolist() for rows in chosen), strict=True)
    found = [len(set(a) & set(b)) / topk for a, b in pairs]
    return sum(found) / len(found)


def rank_correlation(got: Tensor, expected: Tensor) -> float:
    """Spearman's, of two vectors [J]; different candidates' returns are practically never equal."""
    ranks = [values.argsort().argsort().double() for values in (got, expected)]
    return torch.corrcoef(torch.stack(ranks))[0, 1].item()


def likeness(got: Tensor, expected: Tensor, topk: int) -> dict[str, float]:
    """Compares two vectors [J] of returns."""
    error, spread = (got - expected).double(), expected.double().std()
    return {
        "rank_correlation": rank_correlation(got, expected),
        "elite_overlap": elite_overlap(got, expected, topk),
        "relative_l2": relative_l2(got, expected),
        "rms_error_over_stddev": (error.square().mean().sqrt() / spread).item(),
        "largest_error_over_stddev": (error.abs().max() / spread).item(),
    }
