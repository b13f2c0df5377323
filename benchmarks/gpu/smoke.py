"""Runs every op on a device at small sizes and compares with the reference.

    python benchmarks/gpu/smoke.py
    python benchmarks/gpu/smoke.py --variants persistent   # plans of these kernels alone
    python benchmarks/gpu/smoke.py --repeats 50            # a plan again: every bit must agree

Small, so that a checker that slows kernels down a hundredfold ends in seconds (`sanitizer.py`).
What is wrong is named and the rest runs, unless the device itself has failed; the exit status is 1.
PLANET_NO_PERSISTENT leaves the persistent kernels out where --variants does not name them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances
from gpu.runner import write_json

from planet.config import ModelConfig
from planet.diagnostics.self_test import persistent_plans
from planet.latent import LatentState
from planet.noise import Noise
from planet.ops import fused, reference
from planet.ops.checks import VARIANTS
from planet.weights.random import random_weights
from planet.weights.rollout_weights import RolloutWeights

TOLERANCES = {"fp32": 1e-5, "fp16": 4e-3, "bf16": 3e-2}
"""Relative L2 error of returns; twice the tests' for the halves, as these models are small."""

FLOOR = 1e-2  # of the rms return, as in the tests: a single return may be almost 0
BEST = 3  # times the tolerance, of the best return alone
PAPER = ModelConfig()
TINY = ModelConfig(belief_size=17, state_size=5, hidden_size=19, reward_layers=1, reward_hidden=9)
FITTING = ModelConfig(belief_size=64, state_size=16, hidden_size=64, reward_hidden=64)
CASES = [  # model, A, H, B, J
    (PAPER, 6, 3, 1, 100),
    (PAPER, 6, 2, 3, 33),
    (FITTING, 2, 3, 2, 45),
    (TINY, 3, 4, 2, 65),
    (replace(TINY, activation="elu"), 1, 2, 1, 3),
    (replace(PAPER, belief_size=300, hidden_size=260), 6, 2, 1, 40),
]
Finding = tuple[str, float, float]  # what was compared, its error and the error's bound


def relative(got: Tensor, expected: Tensor) -> float:
    """The rms difference over the rms of what is expected."""
    rms = expected.square().mean().sqrt().clamp(min=FLOOR)
    return float((got.cpu() - expected).square().mean().sqrt() / rms)


def rollouts(
    weights: RolloutWeights, device: torch.device, precision: str, shape: tuple[int, int, int]
) -> Iterator[Finding]:
    """Returns with drawn, given and no noise, and the refit to the last of them."""
    horizon, batch, candidates = shape
    generator = torch.Generator().manual_seed(3)
    actions = torch.rand(*shape, weights.action_size, generator=generator) * 2 - 1
    noise = torch.randn(*shape, weights.state_size, generator=generator)
    latent = LatentState(
        torch.rand(batch, weights.belief_size, generator=generator) - 0.5,
        torch.randn(batch, weights.state_size, generator=generator),
    )
    for name, given in (("drawn", Noise(7)), ("given", noise), ("no", None)):
        expected = reference.rollout_returns(weights, latent, actions, given)
        moved = given.to(device) if isinstance(given, torch.Tensor) else given
        got = fused.rollout_returns(
            weights.to(device), latent.to(device), actions.to(device), moved, precision=precision
        )
        error = relative(got, expected)
        yield f"rollout_returns, {name} noise", error, TOLERANCES[precision]
    returns = got.cpu()
    topk = max(1, candidates // 10)
    wanted = reference.refit(actions, returns, topk=topk)
    fitted = fused.refit(actions.to(device), returns.to(device), topk=topk)
    same = torch.equal(fitted.elites.cpu(), wanted.elites)
    yield "refit, the reference's elites", float(not same), 0.0
    yield "refit, mean", float((fitted.mean.cpu() - wanted.mean).abs().max()), 1e-6


def plans(
    weights: RolloutWeights, device: torch.device, precision: str, variant: str,
    shape: tuple[int, int, int], repeats: int,
) -> Iterator[Finding]:  # fmt: skip
    """The best return of one iteration, and whether two iterations have equal bits `repeats` times.

    Raises:
      ValueError: the variant does not serve this plan.
    """
    horizon, batch, candidates = shape
    on_device = weights.to(device)
    latent = LatentState(
        torch.zeros(batch, weights.belief_size), torch.zeros(batch, weights.state_size)
    )
    mean = torch.zeros(horizon, batch, weights.action_size)
    settings = {"seed": 5, "candidates": candidates, "topk": max(1, candidates // 10)}

    def plan(iterations: int) -> Any:
        there = mean.to(device)
        return fused.cem_plan(
            on_device, latent.to(device), there, torch.ones_like(there), iterations=iterations,
            precision=precision, variant=variant, **settings,
        )  # fmt: skip

    once = plan(1)
    expected = reference.cem_plan(
        weights, latent, mean, torch.ones_like(mean), iterations=1, **settings
    )
    error = relative(once.best_return, expected.best_return)
    yield f"{variant} plan, best return", error, BEST * TOLERANCES[precision]
    means = [plan(2).mean for _ in range(repeats)]
    same = all(torch.isfinite(m).all() and torch.equal(m, means[0]) for m in means)
    yield f"{variant} plan, {repeats} equal ones", float(not same), 0.0


def findings(
    device: torch.device, variants: list[str], repeats: int, largest: int
) -> Iterator[tuple[str, str, Iterator[Finding]]]:
    """Precision, shape and comparisons of all that is to be run, up to a size of the belief."""
    precisions = [name for name in fused.served_precisions(device) if name in TOLERANCES]
    for model, actions, horizon, batch, candidates in CASES:
        if model.belief_size > largest:
            continue
        weights, sizes = random_weights(model, actions), (horizon, batch, candidates)
        shape = f"{model.belief_size}/{model.state_size} {sizes}"
        for precision in precisions:
            if "portable" in variants:
                yield precision, shape, rollouts(weights, device, precision, sizes)
            for variant in variants:
                yield precision, shape, plans(weights, device, precision, variant, sizes, repeats)


def clusters(device: torch.device) -> str:
    """Says what persistent plans of the paper's size get, or why there are none."""
    try:
        return persistent_plans(random_weights(PAPER, 6).to(device))
    except (ValueError, RuntimeError) as error:
        return str(error).splitlines()[0]


def main() -> int:
    """Command line; exit status 1 when something is wrong."""
    usual = VARIANTS[:1] if os.environ.get("PLANET_NO_PERSISTENT") else VARIANTS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(usual))
    parser.add_argument("--repeats", type=int, default=2, help="of every plan")
    parser.add_argument("--quick", action="store_true", help="the small models alone")
    parser.add_argument("--output", type=Path, help="for every error, as JSON")
    options = parser.parse_args()
    device = torch.device(options.device)
    found: dict[str, Any] = {**circumstances(), "errors": [], "refused": [], "wrong": []}
    if device.type == "cuda" and "persistent" in options.variants:
        found["clusters"] = clusters(device)
        print(f"the paper's size: {found['clusters']}", flush=True)
    largest = FITTING.belief_size if options.quick else max(case[0].belief_size for case in CASES)
    parts = findings(device, options.variants, options.repeats, largest)
    for precision, shape, comparisons in parts:
        try:
            for what, error, bound in comparisons:
                text = f"{precision} {shape} {what}: error {error:.1e}, bound {bound:.0e}"
                found["errors"].append([precision, shape, what, error, bound])
                if not error <= bound:  # or NaN
                    found["wrong"].append(text)
                print(text if error <= bound else f"FAILED: {text}", flush=True)
        except ValueError as refusal:
            found["refused"].append(f"{precision} {shape}: {refusal}")
            print(found["refused"][-1], flush=True)
        except RuntimeError as error:  # a kernel that fails leaves the device unusable
            found["wrong"].append(f"{precision} {shape}: {error}")
            print(f"FAILED: {precision} {shape}: {error}", flush=True)
            break
        finally:
            if options.output:
                write_json(options.output, found)
    count, wrong = len(found["errors"]), found["wrong"]
    served = any("persistent" in what for _, _, what, _, _ in found["errors"])
    if device.type == "cuda" and "persistent" in options.variants and not (served or wrong):
        wrong.append("no persistent plan was served")
    firsts = [text.splitlines()[0] for text in wrong]
    print(*(f"FAILED: {text}" for text in firsts[:8]), sep="\n", end="\n" if wrong else "")
    first = f": {firsts[0]}" if wrong else ""
    print(f"{len(wrong)} wrong of {count} comparisons with the reference on {device}{first}")
    return int(bool(wrong) or (device.type == "cuda" and not count))


if __name__ == "__main__":
    sys.exit(main())
