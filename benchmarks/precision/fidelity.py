"""Measures how far plans of the reduced precisions are from float64, and from the sampling noise.

    python benchmarks/precision/fidelity.py [RUN_DIR...] [--precision int8 bf16]

For random models at the paper's size (PyTorch's initialisation, and the same twice and three times
as large) and for the agents of the given runs, from several starts (those of a trained agent are
latents of an episode that it plays), with J = 1000 candidates and K = 100 elites:

  same actions, same noise, each precision against the model in float64: rank correlation (Spearman)
  of the returns, share of the K best that are the same, relative L2 error, rms error over the
  standard deviation of the returns; at the action distributions of CEM iterations 0, 2 and 4.
  Beside them the same figures for float32, and for float32 with other state noise: what one draw of
  noise changes anyway.

  planned action: mean |a - a_fp32| of each precision with the same seed, and of float32 with
  another seed.

Writes `benchmarks/results/precision_fidelity.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import RESULTS, circumstances
from gpu.runner import write_json
from precision.likeness import exact_returns, likeness

from planet.config import PlannerConfig
from planet.config.presets import PRESETS
from planet.experiments.run import open_environment, open_run
from planet.latent import LatentState
from planet.noise import STREAM_ACTIONS, STREAM_STATE, normals, resolve_seeds
from planet.ops import backend
from planet.training.collect import run_episode
from planet.weights.random import random_weights
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import arguments

REDUCED = ("int8", "bf16")
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


def score(
    model: Model, latent: LatentState, iteration: int, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Returns of one iteration's candidates from one start: each precision, and other noise."""
    ops, candidates, topk = backend(options.backend), options.candidates, options.topk
    horizon, size = model.planner.horizon, model.weights.action_size
    mean, stddev = torch.zeros(horizon, 1, size), torch.ones(horizon, 1, size)
    settings = {"candidates": candidates, "topk": topk, "seed": 0}
    if iteration:
        plan = ops.cem_plan(model.weights, latent, mean, stddev, iterations=iteration, **settings)
        mean, stddev = plan.mean, plan.stddev

    def draw(seed: int, count: int, stream: int) -> Tensor:
        seeds = resolve_seeds(seed, 1, mean.device)
        how = {"stream": stream, "iteration": iteration}
        return torch.stack(
            [normals(seeds, candidates, count, time=t, **how) for t in range(horizon)]
        )

    actions = mean[:, :, None] + stddev[:, :, None] * draw(0, size, STREAM_ACTIONS)
    actions = actions.clamp(-1, 1)
    noise, other = (draw(seed, model.weights.state_size, STREAM_STATE) for seed in (0, 12345))

    def returns(noise: Tensor, precision: str) -> Tensor:
        return ops.rollout_returns(model.weights, latent, actions, noise, precision=precision)[0]

    expected = exact_returns(model.weights, latent, actions, noise)[0]
    found = {name: returns(noise, name) for name in ("fp32", *options.precision)}
    found["other_noise"] = returns(other, "fp32")
    return {name: likeness(got, expected, topk) for name, got in found.items()}


def planned(model: Model, latent: LatentState, options: argparse.Namespace) -> dict[str, float]:
    """Mean |a - a_fp32| of the planned actions, with the planner's own settings."""
    planner, shape = model.planner, (model.planner.horizon, 1, model.weights.action_size)
    ops = backend(options.backend)

    def action(seed: int, precision: str) -> Tensor:
        return ops.cem_plan(
            model.weights, latent, torch.zeros(shape), torch.ones(shape), seed=seed,
            candidates=planner.candidates, topk=planner.topk, iterations=planner.iterations,
            precision=precision,
        ).action  # fmt: skip

    expected, found = action(0, "fp32"), {name: action(0, name) for name in options.precision}
    found["other_seed"] = action(1, "fp32")
    return {name: (got - expected).abs().mean().item() for name, got in found.items()}


def measure(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of a model, means over its starts."""
    starts = [
        LatentState(model.starts.belief[i : i + 1], model.starts.state[i : i + 1])
        for i in range(len(model.starts.belief))
    ]
    out: dict[str, Any] = {"starts": len(starts), "iterations": {}}
    for iteration in ITERATIONS:
        rows = [score(model, latent, iteration, options) for latent in starts]
        out["iterations"][str(iteration)] = {
            kind: {
                name: float(np.mean([row[kind][name] for row in rows])) for name in rows[0][kind]
            }
            for kind in rows[0]
        }
    rows = [planned(model, latent, options) for latent in starts]
    out["planned_action"] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    out["largest_belief"] = model.starts.belief.abs().max().item()
    return out


def table(results: dict[str, Any]) -> Iterator[str]:
    """Lines of text."""
    yield (
        f"{'model':24} iteration  precision    rank correlation  elite overlap  relative L2   "
        "rms error/stddev"
    )
    for name, row in results.items():
        for iteration, kinds in row["iterations"].items():
            for kind, figures in kinds.items():
                yield (
                    f"{name:24} {iteration:>9}  {kind:11} {figures['rank_correlation']:17.5f} "
                    f"{figures['elite_overlap']:14.3f} {figures['relative_l2']:12.1e} "
                    f"{figures['rms_error_over_stddev']:18.1e}"
                )
    yield ""
    for name, row in results.items():
        shown = [f"{kind} {value:.4f}" for kind, value in row["planned_action"].items()]
        yield f"{name:24} planned action differs by: {', '.join(shown)}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN_DIR")
    parser.add_argument("--precision", nargs="+", choices=REDUCED, default=REDUCED)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--topk", type=int, default=100)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--preset", choices=list(PRESETS), default="paper", help="random models")
    parser.add_argument("--backend", choices=["fused", "reference"], default="fused")
    parser.add_argument("--output", type=Path, default=RESULTS / "precision_fidelity.json")
    options = parser.parse_args()
    models = [random_model(scale, options.starts, options.preset) for scale in SCALES]
    models += [trained_model(directory, options.starts) for directory in options.runs]
    results = {model.name: measure(model, options) for model in models}
    print("\n".join(table(results)))
    report = {
        **circumstances(),
        "candidates": options.candidates,
        "topk": options.topk,
        "backend": options.backend,
        "models": results,
    }
    write_json(options.output, report)
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
