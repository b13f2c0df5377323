"""Times the parts of a training update, and lists the operators that it spends its time in.

    python benchmarks/gpu/update_probe.py --output update.json

The paper's model and batch on random episodes: milliseconds of drawing a batch from replay, of
bringing it to the device (from pinned memory, too, where updates take it from there), and of a
whole update, which holds both: on CUDA beside the update before. The device is waited for after
each. Then updates that nobody waits for, as training makes them, and their dearest operators. All
of it with cuDNN as training sets it; --fastest waives that updates repeat bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances, gpu_state
from gpu.device_timing import synchronise
from gpu.runner import write_json

from planet.config import Config
from planet.config.presets import PRESETS
from planet.protocols import Spec
from planet.replay import Episode, ReplayBuffer
from planet.systems.planet import build
from planet.training.repeatable import repeatable
from planet.training.uploads import pinned, reads_ahead

ACTIONS = 6  # the cheetah's
OPERATORS = 15
PARTS = ("sample", "upload", "upload_pinned", "update")


def fill(folder: Path, config: Config, episodes: int, steps: int) -> ReplayBuffer:
    """A replay of random episodes."""
    replay, draws = ReplayBuffer(folder), np.random.default_rng(0)
    size = config.environment.image_size
    for index in range(episodes):
        frames = draws.integers(0, 256, (steps + 1, size, size, 3), np.uint8)
        action = draws.uniform(-1, 1, (steps + 1, ACTIONS)).astype(np.float32)
        reward = draws.uniform(0, 1, steps + 1).astype(np.float32)
        action[0], reward[0] = 0, 0
        replay.add(Episode({"image": frames}, action, reward, np.zeros(steps + 1, bool)), index)
    return replay


def milliseconds(call: Callable[[], Any], device: torch.device, repeats: int) -> list[float]:
    """Times a call, the device's part included, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        synchronise(device)
        began = time.perf_counter()
        call()
        synchronise(device)
        times.append(1e3 * (time.perf_counter() - began))
    return times[1:]


def summary(times: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median_ms": statistics.median(times), "min_ms": min(times), "max_ms": max(times)}


def dearest(update: Callable[[], Any], device: torch.device, repeats: int) -> dict[str, Any]:
    """The operators in which updates spend their time, on the device or without one on the host."""
    cuda = device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=kinds) as profiler:
        for _ in range(repeats):
            update()
        synchronise(device)
    # What the device ran is listed beside the operators that launched it.
    averages = [row for row in profiler.key_averages() if row.device_type == DeviceType.CPU]
    order = "self_device_time_total" if cuda else "self_cpu_time_total"
    rows = sorted(averages, key=lambda row: -getattr(row, order))[:OPERATORS]
    return {
        "updates": repeats,
        "calls_per_update": sum(row.count for row in averages) / repeats,
        "operators": [
            {"name": row.key[:80], "calls_per_update": row.count / repeats,
             "device_ms_per_update": row.self_device_time_total / 1e3 / repeats,
             "host_ms_per_update": row.self_cpu_time_total / 1e3 / repeats}
            for row in rows
        ],
    }  # fmt: skip


def measure(
    config: Config, folder: Path, repeats: int, steps: int, write: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """All figures; `write` is told of them as they come."""
    device, train = torch.device(config.train.device), config.train
    replay = fill(folder, config, train.seed_episodes, steps)
    size, draws = config.environment.image_size, np.random.default_rng(1)
    box = np.ones(ACTIONS, np.float32)
    learner = build(config, Spec({"image": (np.dtype(np.uint8), (size, size, 3))}, -box, box))
    batch = train.batch_size, train.chunk_length
    chunk = replay.sample(*batch, draws)
    parts: dict[str, Callable[[], Any]] = {
        "sample": lambda: replay.sample(*batch, draws), "upload": lambda: chunk.to(device),
    }  # fmt: skip
    if reads_ahead(device):
        ready = replay.draw(*batch, draws).read(pinned)
        parts["upload_pinned"] = lambda: ready.to(device, non_blocking=True)
    parts["update"] = lambda: learner.update(replay)
    found: dict[str, Any] = {"batch": batch, "deterministic": train.deterministic,
                             "state_before": gpu_state()}  # fmt: skip
    for name, call in parts.items():
        found[name] = summary(milliseconds(call, device, repeats))
        write(found)
        print(f"{name}: {found[name]['median_ms']:.2f} ms", flush=True)
    began = time.perf_counter()
    for _ in range(repeats):
        learner.update(replay)
    host = time.perf_counter() - began
    synchronise(device)
    found["unwaited"] = {"host_ms": 1e3 * host / repeats,
                         "ms": 1e3 * (time.perf_counter() - began) / repeats}  # fmt: skip
    found["state_after"] = gpu_state()
    write(found)
    found["profile"] = dearest(parts["update"], device, max(1, repeats // 5))
    write(found)
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--fastest", action="store_true", help="train.deterministic off")
    parser.add_argument("--quick", action="store_true", help="a small model, few updates")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    config = PRESETS["small" if options.quick else "paper"]("cheetah-run")
    train = replace(config.train, device=options.device, deterministic=not options.fastest)
    repeats, steps = options.updates, 250
    if options.quick:
        train, repeats, steps = replace(train, seed_episodes=2, batch_size=4, chunk_length=5), 2, 20
    found = {**circumstances(), "preset": "small" if options.quick else "paper"}

    def write(figures: dict[str, Any]) -> None:
        if options.output:
            write_json(options.output, found | figures)

    with tempfile.TemporaryDirectory(prefix="update_probe") as folder, repeatable(train):
        config = replace(config, train=train)
        figures = measure(config, Path(folder) / "episodes", repeats, steps, write)
    for row in reversed(figures["profile"]["operators"]):  # the dearest last, where it is seen
        print(f"{row['device_ms_per_update']:8.3f} ms, host {row['host_ms_per_update']:7.3f} ms, "
              f"{row['calls_per_update']:6.0f} x {row['name'][:60]}")  # fmt: skip
    named = [name for name in PARTS if name in figures]
    medians = ", ".join(f"{name} {figures[name]['median_ms']:.1f}" for name in named)
    print(f"ms: {medians}, not waited for {figures['unwaited']['ms']:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
