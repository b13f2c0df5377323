"""Buffers of other observations than one image, and of files of both formats."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from planet.replay import Episode, ReplayBuffer, episode_name, read_episode

FORMAT_1 = Path(__file__).parents[1] / "data" / "episode_format_1.planet"


def test_other_observations_are_refused_by_name(tmp_path: Path) -> None:
    buffer = ReplayBuffer(tmp_path)
    first = buffer.add(vectors("speed", "angle"))
    for episode, expected, got in (
        (vectors("speed"), "angle: expected float32 [3]", "no array"),
        (vectors("speed", "angle", "torque"), "torque: expected no array", "float32 [3]"),
    ):
        message = f"{expected} an entry as in {first}, got {got} in episode-000001.planet"
        with pytest.raises(ValueError, match=re.escape(message)):
            buffer.add(episode)
    buffer.add(vectors("angle", "speed"))
    assert list(buffer.sample(9, 2, np.random.default_rng(0)).observation) == ["angle", "speed"]


def vectors(*names: str) -> Episode:
    """Observations of three numbers each by these names; ends itself."""
    generator = np.random.default_rng(0)
    observation = {name: generator.random((5, 3), np.float32) for name in names}
    ended = np.arange(5) == 4
    return Episode(observation, np.zeros((5, 1), np.float32), np.zeros(5, np.float32), ended)


def test_a_chunk_says_which_entries_ended_the_task(tmp_path: Path) -> None:
    buffer = ReplayBuffer(tmp_path)
    buffer.add(vectors("speed"))
    chunk, speed = buffer.sample(50, 2, np.random.default_rng(0)), vectors("speed").observation
    last = (chunk.observation["speed"] == torch.from_numpy(speed["speed"][4])).all(dim=-1)
    assert torch.equal(chunk.terminated, last) and last.any() and not last.all()


def test_files_of_both_formats_make_one_buffer(tmp_path: Path) -> None:
    shutil.copy(FORMAT_1, tmp_path / episode_name(0))
    buffer, old = ReplayBuffer(tmp_path), read_episode(FORMAT_1)
    reward = -old.reward
    buffer.add(Episode(old.observation, old.action, reward, np.zeros(7, bool)))
    chunk = buffer.sample(20, 7, np.random.default_rng(0))
    new = chunk.reward[1] < 0
    assert new.any() and not new.all()
    for row in range(20):
        expected = -old.reward if new[row] else old.reward
        np.testing.assert_array_equal(chunk.reward[:, row], expected)
        np.testing.assert_array_equal(chunk.observation["image"][:, row], old.observation["image"])
        assert chunk.terminated[:, row].tolist() == [False] * 6 + [not new[row]]
