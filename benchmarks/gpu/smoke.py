"""Runs every op on a device at small sizes and compares with the reference; for sanitizers.

    compute-sanitizer --kernel-regex kns=planet python benchmarks/gpu/smoke.py
    python benchmarks/gpu/smoke.py --repeats 50      # the same plans again: every bit must agree

Small, so that a checker that slows kernels down a hundredfold ends in seconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import torch

from planet.config import ModelConfig
from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import fused, reference
from planet.ops.checks import VARIANTS
from planet.weights.random import random_weights
from planet.weights.rollout_weights import RolloutWeights

TOLERANCES = {"fp32": 1e-5, "fp16": 4e-3, "bf16": 3e-2}
"""Relative L2 error of returns; twice the tests' for the halves, as these models are small."""

PAPER = ModelConfig()
TINY = ModelConfig(belief_size=17, state_size=5, hidden_size=19, reward_layers=1, reward_hidden=9)
CASES = [  # model, A, H, B, J
    (PAPER, 6, 3, 1, 100),
    (PAPER, 6, 2, 3, 33),
    (TINY, 3, 4, 2, 65),
    (replace(TINY, activation="elu"), 1, 2, 1, 1),
    (replace(PAPER, belief_size=300, hidden_size=260), 6, 2, 1, 40),
]


def check(name: str, error: float, bound: float) -> None:
    """Raises SystemExit for an error above its bound, or NaN."""
    if not error <= bound:
        raise SystemExit(f"FAILED: {name}: error {error:.1e}, tolerance {bound:.0e}")


def rollouts(
    weights: RolloutWeights, device: torch.device, precision: str, shape: tuple[int, int, int]
) -> None:
    """Returns with drawn, given and no noise."""
    horizon, batch, candidates = shape
    generator = torch.Generator().manual_seed(3)
    actions = torch.rand(*shape, weights.action_size, generator=generator) * 2 - 1
    noise = torch.randn(*shape, weights.state_size, generator=generator)
    latent = LatentState(
        torch.rand(batch, weights.belief_size, generator=generator) - 0.5,
        torch.randn(batch, weights.state_size, generator=generator),
    )
    for given in (Noise(7), noise, None):
        expected = reference.rollout_returns(weights, latent, actions, given)
        moved = given.to(device) if isinstance(given, torch.Tensor) else given
        got = fused.rollout_returns(
            weights.to(device), latent.to(device), actions.to(device), moved, precision=precision
        )
        error = float((got.cpu() - expected).norm() / expected.norm())
        check(f"rollout_returns {precision} {shape}", error, TOLERANCES[precision])
    returns = got.cpu()
    topk = max(1, candidates // 10)
    wanted = reference.refit(actions, returns, topk=topk)
    fitted = fused.refit(actions.to(device), returns.to(device), topk=topk)
    if not torch.equal(fitted.elites.cpu(), wanted.elites):
        raise SystemExit(f"FAILED: refit {shape}: other elites than the reference's")
    check(f"refit {shape}", float((fitted.mean.cpu() - wanted.mean).abs().max()), 1e-6)


def plans(
    weights: RolloutWeights, device: torch.device, precision: str, shape: tuple[int, int, int],
    repeats: int,
) -> Iterator[str]:  # fmt: skip
    """Plans `repeats` times in every variant that serves it; yields what was run."""
    horizon, batch, candidates = shape
    on_device = weights.to(device)
    latent = LatentState(
        torch.zeros(batch, weights.belief_size, device=device),
        torch.zeros(batch, weights.state_size, device=device),
    )
    mean = torch.zeros(horizon, batch, weights.action_size, device=device)
    for variant in VARIANTS:
        means = []
        for _ in range(repeats):
            try:
                plan = fused.cem_plan(
                    on_device, latent, mean, torch.ones_like(mean), seed=5, iterations=2,
                    candidates=candidates, topk=max(1, candidates // 10), precision=precision,
                    variant=variant,
                )  # fmt: skip
            except ValueError as refusal:
                yield f"{variant} {precision} {shape}: {refusal}"
                break
            means.append(plan.mean)
        if not all(torch.isfinite(m).all() and torch.equal(m, means[0]) for m in means):
            raise SystemExit(f"FAILED: {variant} {precision} {shape}: plans differ, or NaN")
        if means:
            yield f"{variant} {precision} {shape}: {len(means)} equal plans"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=2, help="of every plan")
    options = parser.parse_args()
    device = torch.device(options.device)
    precisions = tuple(TOLERANCES) if device.type == "cuda" else ("fp32",)
    for model, actions, *shape in CASES:
        weights = random_weights(model, actions)
        for precision in precisions:
            sizes = (shape[0], shape[1], shape[2])
            rollouts(weights, device, precision, sizes)
            for line in plans(weights, device, precision, sizes, options.repeats):
                print(line, flush=True)
    print(f"every op agrees with the reference on {device}")


if __name__ == "__main__":
    sys.exit(main())
