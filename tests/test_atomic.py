"""Processes are killed (SIGKILL) while they write; what they leave must be whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planet.atomic import atomic_write

# The child of each round writes generation after generation of the same file, every number in it
# being the generation; the parent kills it and reads. Forked, so that torch is imported once.
PROGRAM = """
import json, os, random, signal, sys, time
import numpy as np
import torch
from planet.checkpoint import load_checkpoint, save_checkpoint
from planet.replay import Episode, ReplayBuffer, read_episode
from planet.training.metrics import MetricsWriter, read_metrics

kind, stage, rounds, directory = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

def write_episode(generation):
    action = np.full((100, 6), generation, np.float32)
    reward = np.full(100, generation, np.float32)
    action[0] = reward[0] = 0
    pixels = np.full((100, 64, 64, 3), generation % 256, np.uint8)
    ReplayBuffer(directory, 50).add(Episode(pixels, action, reward, False), 0)

def read_replay():
    buffer = ReplayBuffer(directory, 50)
    assert not buffer.skipped, buffer.skipped
    if not buffer.episodes:
        return None
    chunk = buffer.sample(2, np.random.default_rng(0))
    generation = int(chunk.reward[-1, 0])
    assert (chunk.observation == generation % 256).all()
    return generation

def write_checkpoint(generation):
    save_checkpoint(directory + "/c.pt", {"a": torch.full((300_000,), generation), "b": generation})

def read_checkpoint():
    if not os.path.exists(directory + "/c.pt"):
        return None
    payload = load_checkpoint(directory + "/c.pt")
    assert (payload["a"] == payload["b"]).all()
    return payload["b"]

def write_metrics(generation):
    writer = MetricsWriter(directory, tensorboard=False)
    kept = max(0, (read_lines() or 0) - generation % 3)
    writer.go_back(kept)
    for number in range(kept + 1, kept + 5):
        writer.write({"line": number}, {"x/" + "x" * 2000: generation})

def read_lines():
    if not os.path.exists(directory + "/metrics.jsonl"):
        return None
    numbers = [line["line"] for line in read_metrics(directory)]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    return len(numbers)

write, read = {
    "episode": (write_episode, read_replay),
    "checkpoint": (write_checkpoint, read_checkpoint),
    "metrics": (write_metrics, read_lines),
}[kind]

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def child(generation):
    if stage == "any":
        while True:
            write(generation)
            os.write(written, b".")
            generation += 1
    original = os.replace
    if stage == "renamed":
        os.replace = lambda *arguments: (original(*arguments), die())
    else:
        setattr(os, stage, die)
    write(generation)

random.seed(0)
seen_writes, written = os.pipe()
if stage != "any":
    write(1)
seen = [read()]
for _ in range(rounds):
    process = os.fork()
    if process == 0:
        try:
            child((seen[-1] or 0) + 1)
        finally:
            os._exit(1)
    if stage == "any":  # once it has written, at any moment of the next generations
        for _ in range(random.randint(1, 3)):
            assert os.read(seen_writes, 1)
        time.sleep(random.uniform(0, 0.01))
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), status
    seen.append(read())
print(json.dumps(seen))
"""


def killed_writers(kind: str, stage: str, rounds: int, directory: Path) -> list[int | None]:
    """Returns the generation found before the first and after each kill."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, kind, stage, str(rounds), str(directory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen: list[int | None] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("kind", ["episode", "checkpoint", "metrics"])
def test_file_is_whole_after_a_kill_at_any_time(tmp_path: Path, kind: str) -> None:
    seen = killed_writers(kind, "any", 20, tmp_path)
    found = [generation for generation in seen if generation is not None]
    if kind != "metrics":  # lines are dropped again and again
        assert found == sorted(found) and found[-1] >= 20


@pytest.mark.parametrize("kind", ["episode", "checkpoint"])
@pytest.mark.parametrize(("stage", "expected"), [("fsync", 1), ("replace", 1), ("renamed", 2)])
def test_kill_at_each_stage_leaves_the_old_file_or_the_new(
    tmp_path: Path, kind: str, stage: str, expected: int
) -> None:
    assert killed_writers(kind, stage, 1, tmp_path) == [1, expected]
    leftovers = [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    assert len(leftovers) == (0 if stage == "renamed" else 1)


def test_failure_inside_the_block_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), atomic_write(tmp_path / "absent" / "f"):
        pass
