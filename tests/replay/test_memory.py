import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from planet.replay import ReplayBuffer, episode_name
from planet.replay.episode import Episode

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from planet.replay import ReplayBuffer

def resident():
    status = Path("/proc/self/status").read_text()
    return [int(status.split(field)[1].split()[0]) * 1024 / 1e6 for field in ("VmRSS:", "VmHWM:")]

before, _ = resident()
buffer = ReplayBuffer(sys.argv[1], 50)
generator = np.random.default_rng(0)
for _ in range(40):
    chunk = buffer.sample(50, generator)
print(json.dumps([len(buffer.episodes), before, *resident()]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_sampling_from_300_episodes_needs_no_memory_beyond_its_batches(tmp_path: Path) -> None:
    action, reward = np.zeros((251, 6), np.float32), np.zeros(251, np.float32)
    pixels = np.zeros((251, 64, 64, 3), np.uint8)
    first = ReplayBuffer(tmp_path, 50).add(Episode(pixels, action, reward, False))
    for index in range(1, 300):  # the same 3 MB by 300 names: each is opened and read by itself
        os.link(first, tmp_path / episode_name(index))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    episodes, before, after, peak = json.loads(done.stdout)
    assert episodes == 300  # 930 MB, were they in memory
    batches = 2 * 50 * 50 * 64 * 64 * 3 / 1e6  # the last one and the one being filled
    assert max(after, peak) - before < batches + 15, (before, after, peak)
