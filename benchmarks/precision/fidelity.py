"""Measures how far int8 plans are from fp32 plans, against the planner's sampling noise.

    python benchmarks/int8/fidelity.py [RUN_DIR...]

For random models at the paper's size (PyTorch's initialisation, and the same twice and three times
as large) and for the agents of the given runs, from several starts (those of a trained agent are
latents of an episode that it plays), with J = 1000 candidates and K = 100 elites:

  same actions, same noise, int8 against fp32: rank correlation (Spearman) of the returns, overlap
  of the K best (Jaccard), rms error over the standard deviation of the returns; at the action
  distributions of CEM iterations 0, 2 and 4. Beside them the same figures for fp32 against fp32
  with other state noise: what one draw of noise changes anyway.

  planned action: mean |a - a_fp32| of int8 with the same seed, and of fp32 with another seed.

Writes `benchmarks/results/int8_fidelity.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planet import build_info
from planet.config import PlannerConfig
from planet.config.presets import PRESETS
from planet.diagnostics.machine import machine_facts
from planet.experiments.run import open_environment, open_run
from planet.latent import LatentState
from planet.noise import STREAM_ACTIONS, Noise, normals, resolve_seeds
from planet.ops import backend
from planet.training.collect import run_episode
from planet.weights.random import random_weights
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import arguments

RESULTS = Path(__file__).parents[1] / "results" / "int8_fidelity.json"
ITERATIONS = (0, 2, 4)
SCALES = (1, 2, 3)


@dataclass(frozen=True)
class Model:
    """A snapshot, where to plan from (belief [N, D], state [N, S]), and the planner's settings."""

    name: str
    weights: RolloutWeights
    starts: LatentState
    planner: PlannerConfig


def random_model(scale: int, starts: int, preset: str = "paper") -> Model:
    """Every weight and bias times `scale`."""
    config = PRESETS[preset]("cheetah-run")
    weights = random_weights(config.model, 6)
    scaled = {name: scale * tensor for name, tensor in weights.named_tensors().items()}
    generator = torch.Generator().manual_seed(1)
    latent = LatentState(
        torch.rand(starts, weights.belief_size, generator=generator) * 1.6 - 0.8,
        torch.randn(starts, weights.state_size, generator=generator),
    )
    name = "random weights" + (f" x {scale}" if scale > 1 else "")
    return Model(name, replace(weights, **arguments(scaled)), latent, config.planner)


def trained_model(directory: Path, starts: int) -> Model:
    """The agent of a run, and latents of an episode of its own, evenly spaced."""
    run = open_run(directory, {"imagination": {"precision": "fp32"}})
    environment = open_environment(run)
    latents: list[LatentState] = []
    run.agent.reset(1)
    try:
        run_episode(
            environment, run.agent, seed=1, on_step=lambda total: latents.append(run.agent.latent)
        )
    finally:
        environment.close()
    chosen = [latents[i] for i in np.linspace(0, len(latents) - 1, starts + 1, dtype=int)[1:]]
    latent = LatentState(
        torch.cat([one.belief for one in chosen]), torch.cat([one.state for one in chosen])
    )
    name = f"trained: {directory.resolve().name}"
    weights = run.agent.world_model.rollout_weights()
    return Model(name, weights, latent, run.config.planner)


def ranks(values: Tensor) -> Tensor:
    """0 for the smallest; returns of different candidates are practically never equal."""
    return values.argsort().argsort().double()


def likeness(got: Tensor, expected: Tensor, topk: int) -> dict[str, float]:
    """Compares two vectors [J] of returns for the same candidates."""
    best = [set(values.topk(topk).indices.tolist()) for values in (got, expected)]
    error = (got - expected).double()
    return {
        "rank_correlation": torch.corrcoef(torch.stack([ranks(got), ranks(expected)]))[0, 1].item(),
        "topk_jaccard": len(best[0] & best[1]) / len(best[0] | best[1]),
        "rms_error_over_stddev": (error.square().mean().sqrt() / expected.double().std()).item(),
        "largest_error_over_stddev": (error.abs().max() / expected.double().std()).item(),
    }


def score(
    model: Model, latent: LatentState, iteration: int, candidates: int, topk: int, ops: Any
) -> dict[str, dict[str, float]]:
    """Returns of one iteration's candidates from one start: int8, and fp32 with other noise."""
    shape = (model.planner.horizon, 1, model.weights.action_size)
    mean, stddev = torch.zeros(shape), torch.ones(shape)
    settings = {"candidates": candidates, "topk": topk, "seed": 0}
    if iteration:
        plan = ops.cem_plan(model.weights, latent, mean, stddev, iterations=iteration, **settings)
        mean, stddev = plan.mean, plan.stddev
    seeds = resolve_seeds(0, 1, mean.device)
    draw = [
        normals(seeds, candidates, shape[2], stream=STREAM_ACTIONS, time=t, iteration=iteration)
        for t in range(shape[0])
    ]
    actions = mean[:, :, None] + stddev[:, :, None] * torch.stack(draw)
    actions = actions.clamp(-1, 1)

    def returns(noise: Noise, precision: str) -> Tensor:
        return ops.rollout_returns(model.weights, latent, actions, noise, precision=precision)[0]

    expected = returns(Noise(seeds, iteration), "fp32")
    return {
        "int8": likeness(returns(Noise(seeds, iteration), "int8"), expected, topk),
        "other_noise": likeness(returns(Noise(12345, iteration), "fp32"), expected, topk),
    }


def planned(model: Model, latent: LatentState, ops: Any) -> dict[str, float]:
    """Mean |a - a_fp32| of the planned actions, with the planner's own settings."""
    planner, shape = model.planner, (model.planner.horizon, 1, model.weights.action_size)

    def action(seed: int, precision: str) -> Tensor:
        return ops.cem_plan(
            model.weights, latent, torch.zeros(shape), torch.ones(shape), seed=seed,
            candidates=planner.candidates, topk=planner.topk, iterations=planner.iterations,
            precision=precision,
        ).action  # fmt: skip

    expected = action(0, "fp32")
    return {
        "int8": (action(0, "int8") - expected).abs().mean().item(),
        "other_seed": (action(1, "fp32") - expected).abs().mean().item(),
    }


def measure(model: Model, candidates: int, topk: int, ops: Any) -> dict[str, Any]:
    """All figures of a model, means over its starts (and the worst rank correlation)."""
    starts = [
        LatentState(model.starts.belief[i : i + 1], model.starts.state[i : i + 1])
        for i in range(len(model.starts.belief))
    ]
    out: dict[str, Any] = {"starts": len(starts), "iterations": {}}
    for iteration in ITERATIONS:
        rows = [score(model, latent, iteration, candidates, topk, ops) for latent in starts]
        out["iterations"][str(iteration)] = {
            kind: {
                name: float(np.mean([row[kind][name] for row in rows])) for name in rows[0][kind]
            }
            for kind in rows[0]
        }
    rows = [planned(model, latent, ops) for latent in starts]
    out["planned_action"] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    out["largest_belief"] = model.starts.belief.abs().max().item()
    return out


def table(results: dict[str, Any]) -> Iterator[str]:
    """Lines of text."""
    yield (
        f"{'model':24} iteration  rank correlation  top-K overlap  rms error/stddev   "
        "other noise: rank, overlap"
    )
    for name, row in results.items():
        for iteration, figures in row["iterations"].items():
            ours, other = figures["int8"], figures["other_noise"]
            yield (
                f"{name:24} {iteration:>9} {ours['rank_correlation']:17.5f} "
                f"{ours['topk_jaccard']:14.3f} {ours['rms_error_over_stddev']:17.4f}   "
                f"{other['rank_correlation']:17.3f} {other['topk_jaccard']:8.3f}"
            )
    yield ""
    for name, row in results.items():
        action = row["planned_action"]
        yield (
            f"{name:24} planned action: int8 differs by {action['int8']:.4f}, "
            f"another seed by {action['other_seed']:.4f}"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN_DIR")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--topk", type=int, default=100)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--preset", choices=list(PRESETS), default="paper", help="random models")
    parser.add_argument("--backend", choices=["fused", "reference"], default="fused")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    models = [random_model(scale, options.starts, options.preset) for scale in SCALES]
    models += [trained_model(directory, options.starts) for directory in options.runs]
    ops = backend(options.backend)
    results = {m.name: measure(m, options.candidates, options.topk, ops) for m in models}
    print("\n".join(table(results)))
    report = {
        "candidates": options.candidates,
        "topk": options.topk,
        "backend": options.backend,
        "machine": machine_facts(),
        "build": build_info(),
        "models": results,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
