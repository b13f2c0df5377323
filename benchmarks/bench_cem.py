"""Times the compiled planner against `torch_cem.py`, side by side.

Both run in this process in turn, so that a busy machine slows both: quote the ratios, which are
medians of the ratios of neighbouring runs. Before timing, both are checked to give the reference's
returns. Writes one JSON file per call.

    python benchmarks/bench_cem.py --sizes paper small --threads 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch_cem import FORMS, TorchCEM

from planet.build import build_info
from planet.latent import LatentState
from planet.ops import fused, reference
from planet.presets import PRESETS
from planet.weights import RolloutWeights

TOLERANCE = 2e-6  # of returns, relative to their rms; see tests/ops/tolerances.py


@dataclass(frozen=True)
class Size:
    """One planning problem; letters as everywhere."""

    horizon: int
    iterations: int
    candidates: int
    topk: int
    action: int
    belief: int
    state: int
    hidden: int
    reward: tuple[int, ...]

    @staticmethod
    def of_preset(name: str, action: int = 6) -> Size:
        """Model and planner of a preset, with the cheetah's six actions."""
        config = PRESETS[name]("cheetah-run")
        model, planner = config.model, config.planner
        return Size(
            planner.horizon,
            planner.iterations,
            planner.candidates,
            planner.topk,
            action,
            model.belief_size,
            model.state_size,
            model.hidden_size,
            (model.reward_hidden,) * model.reward_layers,
        )

    @property
    def multiply_adds(self) -> int:
        """Of one plan: the entries of all weight matrices per candidate and step."""
        d, s, a, m = self.belief, self.state, self.action, self.hidden
        widths = [d + s, *self.reward, 1]
        reward = sum(i * o for i, o in zip(widths, widths[1:], strict=False))
        step = m * (s + a) + 3 * d * (d + m) + m * d + 2 * s * m + reward
        return step * self.horizon * self.iterations * self.candidates


def random_weights(size: Size) -> RolloutWeights:
    """A snapshot with PyTorch's default initialisation."""
    generator = torch.Generator().manual_seed(0)

    def uniform(fan_in: int, *shape: int) -> torch.Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) / fan_in**0.5

    d, s, a, m = size.belief, size.state, size.action, size.hidden
    widths = [d + s, *size.reward, 1]
    pairs = list(zip(widths, widths[1:], strict=False))
    return RolloutWeights(
        input_weight=uniform(s + a, m, s + a),
        input_bias=uniform(s + a, m),
        gru_weight_ih=uniform(d, 3 * d, m),
        gru_weight_hh=uniform(d, 3 * d, d),
        gru_bias_ih=uniform(d, 3 * d),
        gru_bias_hh=uniform(d, 3 * d),
        prior_hidden_weight=uniform(d, m, d),
        prior_hidden_bias=uniform(d, m),
        prior_weight=uniform(m, 2 * s, m),
        prior_bias=uniform(m, 2 * s),
        reward_weights=[uniform(n, k, n) for n, k in pairs],
        reward_biases=[uniform(n, k) for n, k in pairs],
    )


def check(size: Size, weights: RolloutWeights, latent: LatentState) -> dict[str, float]:
    """Largest error of the returns of every variant, given the same actions and noise."""
    candidates = min(size.candidates, 200)
    actions = torch.rand(size.horizon, 1, candidates, size.action) * 2 - 1
    noise = torch.randn(size.horizon, 1, candidates, size.state)
    expected = reference.rollout_returns(weights, latent, actions, noise)
    rms = max(expected.square().mean().sqrt().item(), 1e-2)
    variants: dict[str, Callable[[], torch.Tensor]] = {
        "fused": lambda: fused.rollout_returns(weights, latent, actions, noise)
    }
    for form in FORMS:
        planner = TorchCEM(weights, form)
        variants[form] = lambda planner=planner: planner.rollout(latent, actions, noise)
    errors = {name: (call() - expected).abs().max().item() / rms for name, call in variants.items()}
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    if wrong:
        raise SystemExit(f"returns differ from the reference's, nothing was timed: {wrong}")
    return errors


def planners(
    size: Size, weights: RolloutWeights, latent: LatentState
) -> dict[str, Callable[[], Any]]:
    """One call of each plans once."""
    mean = torch.zeros(size.horizon, 1, size.action)
    stddev = torch.ones_like(mean)
    settings = {
        "candidates": size.candidates,
        "topk": size.topk,
        "iterations": size.iterations,
    }
    calls: dict[str, Callable[[], Any]] = {
        "fused": lambda: fused.cem_plan(weights, latent, mean, stddev, seed=0, **settings)
    }
    for form in FORMS:
        planner = TorchCEM(weights, form)
        calls[form] = lambda planner=planner: planner.plan(latent, horizon=size.horizon, **settings)
    return calls


def summary(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(1e3 * value for value in seconds)
    return {
        "min_ms": ordered[0],
        "median_ms": statistics.median(ordered),
        "p95_ms": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
    }


def measure(size: Size, threads: int, seconds: float, warm_up: int = 3) -> dict[str, Any]:
    """Runs all variants in turn for about so many seconds."""
    torch.set_num_threads(threads)
    weights = random_weights(size)
    latent = LatentState(torch.zeros(1, size.belief), torch.zeros(1, size.state))
    errors = check(size, weights, latent)
    calls = planners(size, weights, latent)
    for _ in range(warm_up):
        for call in calls.values():
            call()
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(wall["fused"]) < 5:
        for name, call in calls.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            call()
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - began_cpu)
    result: dict[str, Any] = {"threads": threads, "rounds": len(wall["fused"]), "errors": errors}
    for name in calls:
        result[name] = {**summary(wall[name]), "min_cpu_ms": 1e3 * min(cpu[name])}
    for form in FORMS:
        ratios = [a / b for a, b in zip(wall[form], wall["fused"], strict=True)]
        result[f"{form} / fused"] = {
            "median of paired ratios": statistics.median(ratios),
            "ratio of minima": min(wall[form]) / min(wall["fused"]),
            "ratio of minimal cpu times": min(cpu[form]) / min(cpu["fused"]),
        }
    result["fused_gflops_at_min"] = 2e-9 * size.multiply_adds / min(wall["fused"])
    return result


def machine() -> dict[str, Any]:
    """Facts beside every number."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith("model name"))
        model = next(lines, model).split(":")[-1].strip()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "build": build_info(),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["paper", "small"], choices=list(PRESETS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=30.0, help="per size and thread count")
    default = Path(__file__).parent / "results" / "cem.json"
    parser.add_argument("--output", type=Path, default=default)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "results": {},
    }
    for name in options.sizes:
        size = Size.of_preset(name)
        runs = [measure(size, threads, options.seconds) for threads in options.threads]
        report["results"][name] = {
            "size": {**asdict(size), "multiply_adds": size.multiply_adds},
            "runs": runs,
        }
        for run in runs:
            print(
                f"{name}, {run['threads']} threads: fused {run['fused']['median_ms']:.1f} ms, "
                + ", ".join(
                    f"{form} {run[form]['median_ms']:.1f} ms "
                    f"({run[f'{form} / fused']['median of paired ratios']:.2f}x)"
                    for form in FORMS
                )
            )
    report["machine"]["load_average_after"] = os.getloadavg()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
