import os
import tracemalloc
from pathlib import Path

import numpy as np

from planet.replay import ReplayBuffer, episode_name
from planet.replay.episode import Episode


def test_sampling_from_300_episodes_needs_no_memory_beyond_its_batches(tmp_path: Path) -> None:
    action, reward = np.zeros((251, 6), np.float32), np.zeros(251, np.float32)
    pixels, ended = np.zeros((251, 64, 64, 3), np.uint8), np.zeros(251, bool)
    first = ReplayBuffer(tmp_path).add(Episode({"image": pixels}, action, reward, ended))
    for index in range(1, 300):  # the same 3 MB by 300 names: each is opened and read by itself
        os.link(first, tmp_path / episode_name(index))
    generator = np.random.default_rng(0)
    tracemalloc.start()  # numpy reports its arrays: a count, whatever the machine's pages do
    try:
        buffer = ReplayBuffer(tmp_path)
        for _ in range(10):
            buffer.sample(50, 50, generator)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(buffer.episodes) == 300  # 930 MB, were they in memory
    batches = 2 * 50 * 50 * 64 * 64 * 3  # the last one and the one being filled
    assert peak < batches + 5_000_000
