"""Memory and speed of replay: 1,000 paper-size episodes on disk, batches of 50 x 50 from them.

Prints one JSON object: resident memory (RSS) of this process before and after, milliseconds per
batch, and the machine. The episodes are written for real (3.1 GB) into a temporary folder.

    python benchmarks/learning/replay_memory.py [--episodes 1000] [--batches 100] [--directory DIR]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from planet.replay import Episode, ReplayBuffer

LENGTH, IMAGE_SIZE, ACTION_SIZE = 251, 64, 6  # cheetah-run: 1000 environment steps, repeat 4
CHUNK_LENGTH, BATCH_SIZE = 50, 50  # paper, Section 5


def resident_megabytes(field: str) -> float:
    """Returns VmRSS (now) or VmHWM (peak) of this process in MB of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"field: expected a line of /proc/self/status, got {field!r}")


def synthetic_episode(generator: np.random.Generator) -> Episode:
    """Returns an episode of the paper's size with random content."""
    shape = (LENGTH, IMAGE_SIZE, IMAGE_SIZE, 3)
    action = generator.uniform(-1, 1, (LENGTH, ACTION_SIZE)).astype(np.float32)
    reward = generator.uniform(0, 4, LENGTH).astype(np.float32)
    action[0] = reward[0] = 0
    image = generator.integers(0, 256, shape, np.uint8)
    return Episode({"image": image}, action, reward, np.zeros(LENGTH, bool))


def fill(directory: Path, episodes: int) -> float:
    """Writes the missing episodes and returns the milliseconds per written episode."""
    buffer = ReplayBuffer(directory)
    generator = np.random.default_rng(0)
    seconds, missing = 0.0, episodes - buffer.next_index
    for _ in range(missing):
        episode = synthetic_episode(generator)
        begin = time.perf_counter()
        buffer.add(episode)
        seconds += time.perf_counter() - begin
    return 1000 * seconds / max(1, missing)


def measure(directory: Path, batches: int) -> dict[str, object]:
    """Opens the buffer, draws batches, and returns memory and times."""
    result: dict[str, object] = {"rss_before_mb": resident_megabytes("VmRSS")}
    begin = time.perf_counter()
    buffer = ReplayBuffer(directory)
    result |= {
        "open_and_verify_seconds": time.perf_counter() - begin,
        "episodes": len(buffer.episodes),
        "disk_gb": buffer.total_bytes / 1e9,
        "bytes_per_frame": buffer.total_bytes / buffer.total_frames,
        "rss_open_mb": resident_megabytes("VmRSS"),
    }
    generator = np.random.default_rng(1)
    warm = sample_milliseconds(buffer, batches, generator)
    result |= {
        "rss_after_mb": resident_megabytes("VmRSS"),
        "rss_peak_mb": resident_megabytes("VmHWM"),
        "batch": [BATCH_SIZE, CHUNK_LENGTH],
        "ms_per_batch_median": float(np.median(warm)),
        "ms_per_batch_p95": float(np.percentile(warm, 95)),
    }
    drop_from_page_cache(buffer)
    cold = sample_milliseconds(buffer, 10, generator)
    return result | {"ms_per_batch_from_disk_median": float(np.median(cold))}


def sample_milliseconds(
    buffer: ReplayBuffer, batches: int, generator: np.random.Generator
) -> list[float]:
    """Draws batches as a training loop does (the last one alive while the next is read)."""
    milliseconds = []
    for _ in range(batches):
        begin = time.perf_counter()
        chunk = buffer.sample(BATCH_SIZE, CHUNK_LENGTH, generator)
        milliseconds.append(1000 * (time.perf_counter() - begin))
    assert chunk.observation["image"].shape == (CHUNK_LENGTH, BATCH_SIZE, IMAGE_SIZE, IMAGE_SIZE, 3)
    return milliseconds


def drop_from_page_cache(buffer: ReplayBuffer) -> None:
    """Makes the kernel forget the episodes, so that the next reads come from the disk."""
    for info in buffer.episodes.values():
        with open(info.path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Fills a directory if needed, in a process of its own, then measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--directory", type=Path, help="keep the episodes here; default: temporary")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = arguments.directory or Path(temporary)
        facts = {
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # keeps this process small
            written = pool.apply(fill, (directory, arguments.episodes))
        result = measure(directory, arguments.batches)
        print(json.dumps(facts | {"ms_per_write": written} | result, indent=2))


if __name__ == "__main__":
    main()
