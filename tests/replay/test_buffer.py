import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planet.protocols import Chunk
from planet.replay import (
    CorruptEpisodeError,
    Episode,
    LostEpisodesError,
    ReplayBuffer,
    episode_name,
    read_episode,
    write_episode,
)


def same(first: Chunk, second: Chunk) -> bool:
    return all(map(torch.equal, tensors(first), tensors(second)))


def tensors(chunk: Chunk) -> tuple[torch.Tensor, ...]:
    return chunk.observation["image"], chunk.action, chunk.reward, chunk.terminated


@pytest.fixture
def filled(tmp_path: Path, make_episode: Any) -> ReplayBuffer:
    """Adds episodes 0 to 4 with 6 to 10 entries."""
    buffer = ReplayBuffer(tmp_path)
    for tag in range(5):
        buffer.add(make_episode(steps=5 + tag, tag=tag))
    return buffer


def test_chunk_is_time_major_with_the_documented_types(filled: ReplayBuffer) -> None:
    chunk = filled.sample(7, 4, np.random.default_rng(0))
    assert list(chunk.observation) == ["image"]
    assert [(list(tensor.shape), tensor.dtype) for tensor in tensors(chunk)] == [
        ([4, 7, 4, 6, 3], torch.uint8), ([4, 7, 2], torch.float32), ([4, 7], torch.float32),
        ([4, 7], torch.bool),
    ]  # fmt: skip
    assert all(tensor.is_contiguous() for tensor in tensors(chunk))
    assert same(chunk.to("cpu"), chunk)


@pytest.mark.parametrize("sampling", ["uniform", "recent"])
def test_chunk_never_crosses_an_episode(filled: ReplayBuffer, sampling: str) -> None:
    buffer = ReplayBuffer(filled.directory, sampling=sampling)
    chunk = buffer.sample(500, 4, np.random.default_rng(1))
    time = chunk.reward
    assert torch.equal(time[1:] - time[:-1], torch.ones(3, 500))
    tag = chunk.observation["image"][:, :, 0, 0, 0].float()
    assert torch.equal(tag, tag[:1].expand_as(tag))
    # Action, reward and pixels of one entry belong together.
    assert torch.equal(chunk.action[..., 1], time)
    assert torch.equal(chunk.observation["image"][:, :, 2, 3, 1].float(), time)
    assert torch.equal(chunk.action[..., 0], tag * (time > 0))
    assert set(zip(tag[0].tolist(), time[0].tolist(), strict=True)) == {
        (episode, start) for episode in range(5) for start in range(3 + episode)
    }


def test_chunk_may_be_the_whole_episode(filled: ReplayBuffer) -> None:
    chunk = filled.sample(3, 10, np.random.default_rng(0))
    expected = read_episode(filled.directory / episode_name(4))
    for row in range(3):
        image = chunk.observation["image"][:, row]
        np.testing.assert_array_equal(image, expected.observation["image"])


def test_batch_is_decided_by_the_generator_and_the_files(filled: ReplayBuffer) -> None:
    reopened = ReplayBuffer(filled.directory)
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    for _ in range(3):
        assert same(filled.sample(5, 4, first), reopened.sample(5, 4, second))
    assert not same(filled.sample(5, 4, first), filled.sample(5, 4, first))


def test_order_of_addition_does_not_matter(tmp_path: Path, make_episode: Any) -> None:
    buffers = [ReplayBuffer(tmp_path / name) for name in ("up", "down")]
    for index in range(12):
        buffers[0].add(make_episode(tag=index), index)
        buffers[1].add(make_episode(tag=11 - index), 11 - index)
    assert list(buffers[0].episodes) == list(buffers[1].episodes)
    samples = [buffer.sample(20, 4, np.random.default_rng(0)) for buffer in buffers]
    assert same(*samples)


def test_recent_prefers_new_episodes_until_the_refresh(tmp_path: Path, make_episode: Any) -> None:
    old = ReplayBuffer(tmp_path)
    for tag in range(8):
        old.add(make_episode(tag=tag))
    buffer = ReplayBuffer(tmp_path, sampling="recent", recent_draws=1000)

    def share(tag: int) -> float:
        chunk = buffer.sample(1000, 4, generator)
        return float((chunk.observation["image"][0, :, 0, 0, 0] == tag).float().mean())

    generator = np.random.default_rng(0)
    buffer.add(make_episode(tag=8))
    assert abs(share(8) - 1 / 2) < 0.08  # 1000 draws
    assert abs(share(8) - 1 / 9) < 0.05  # then it is one of nine
    buffer.add(make_episode(tag=9))
    buffer.refresh()
    assert abs(share(9) - 1 / 10) < 0.05


def test_add_names_files_by_index(tmp_path: Path, make_episode: Any) -> None:
    buffer = ReplayBuffer(tmp_path / "new" / "folder")
    assert buffer.next_index == 0
    assert buffer.add(make_episode(tag=1), 12).name == "episode-000012.planet"
    assert buffer.add(make_episode(tag=2)).name == "episode-000013.planet"
    assert buffer.add(make_episode(tag=3), 2).name == "episode-000002.planet"
    assert [info.metadata["tag"] for info in buffer.episodes.values()] == [3, 1, 2]
    assert buffer.add(make_episode(), 1_000_000).name == "episode-1000000.planet"
    assert list(ReplayBuffer(buffer.directory).episodes) == list(buffer.episodes)
    with pytest.raises(ValueError, match="index: expected a value >= 0, got -1"):
        buffer.add(make_episode(), -1)


def test_same_index_replaces_the_episode(filled: ReplayBuffer, make_episode: Any) -> None:
    filled.add(make_episode(steps=20, tag=77), 3)
    assert len(filled.episodes) == 5
    assert filled.episodes[episode_name(3)].length == 21
    tags = filled.sample(500, 4, np.random.default_rng(0)).observation["image"][0, :, 0, 0, 0]
    assert set(tags.tolist()) == {0, 1, 2, 4, 77}


def test_totals_describe_the_files(filled: ReplayBuffer) -> None:
    files = list(filled.directory.iterdir())
    assert filled.total_bytes == sum(path.stat().st_size for path in files)
    assert filled.total_frames == 6 + 7 + 8 + 9 + 10
    assert {name: info.length for name, info in filled.episodes.items()} == {
        episode_name(tag): 6 + tag for tag in range(5)
    }


def test_damaged_files_are_named_and_left_out(
    filled: ReplayBuffer, caplog: pytest.LogCaptureFixture, make_episode: Any
) -> None:
    directory = filled.directory
    truncated, flipped = directory / episode_name(1), directory / episode_name(4)
    size = truncated.stat().st_size
    truncated.write_bytes(truncated.read_bytes()[:-5])
    damaged = bytearray(flipped.read_bytes())
    damaged[-100] ^= 1
    flipped.write_bytes(damaged)
    (directory / "mine.planet").write_bytes(b"?")
    (directory / "notes.txt").write_text("ignored")
    (directory / episode_name(9)).mkdir()
    with caplog.at_level(logging.WARNING, "planet"):
        buffer = ReplayBuffer(directory)
    assert list(buffer.episodes) == [episode_name(index) for index in (0, 2, 3)]
    shorter = f"length: expected {size} bytes, got {size - 5}: the file is truncated"
    changed = buffer.skipped.pop(episode_name(4))
    assert changed.startswith("checksum of image: expected ")
    assert buffer.skipped == {
        "mine.planet": "the name is not episode-<six digits>.planet",
        episode_name(1): shorter,
        episode_name(9): "expected a regular file, got a directory",
    }
    assert f"4 files in {directory} are left out: {episode_name(1)} (length: " in caplog.text
    assert f"{episode_name(4)} (checksum of image: expected " in caplog.text
    assert caplog.text.endswith(" and 1 more\n")
    tags = buffer.sample(200, 4, np.random.default_rng(0)).observation["image"][0, :, 0, 0, 0]
    assert set(tags.tolist()) == {0, 2, 3}
    assert buffer.next_index == 10
    buffer.add(make_episode(tag=50), 1)
    assert episode_name(1) not in buffer.skipped


@pytest.mark.parametrize("name", [".planet-0123456789abcdef.tmp", "episode-000005.planet.tmp"])
def test_temporary_files_are_never_taken_for_episodes(filled: ReplayBuffer, name: str) -> None:
    content = (filled.directory / episode_name(0)).read_bytes()
    (filled.directory / name).write_bytes(content)
    buffer = ReplayBuffer(filled.directory)
    assert len(buffer.episodes) == 5 and not buffer.skipped


def test_stray_files_of_any_number_take_one_short_line(
    filled: ReplayBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    strays = ["\udcff\n.planet", *(f"a{number:05d}.planet" for number in range(2_000))]
    for name in strays:
        os.close(os.open(filled.directory / name, os.O_CREAT))
    os.mkfifo(filled.directory / episode_name(7))
    with caplog.at_level(logging.WARNING, "planet"):
        buffer = ReplayBuffer(filled.directory)
    assert len(buffer.episodes) == 5 and len(buffer.skipped) == 2_002
    (record,) = caplog.records
    assert len(record.getMessage()) < 1000 + len(str(filled.directory))
    assert record.getMessage().endswith(" and 1,999 more")
    assert buffer.skipped[episode_name(7)] == "expected a regular file, got a named pipe"


def damage_by_swap(directory: Path, make_episode: Any) -> str:
    ReplayBuffer(directory).add(make_episode(steps=7, tag=77), 2)
    return "another episode than the one that was saved"


def damage_by_removal(directory: Path, make_episode: Any) -> str:
    (directory / episode_name(2)).unlink()
    return "No such file or directory"


@pytest.mark.parametrize("damage", [damage_by_swap, damage_by_removal])
def test_lost_episodes_are_refused_by_name_unless_accepted(
    filled: ReplayBuffer, make_episode: Any, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    state = filled.state_dict()
    reason = damage(filled.directory, make_episode)
    names = state["names"]
    message = f"{filled.directory}: expected the episodes that were saved, lost 1: "
    message += f"{episode_name(2)} ({reason})"
    with pytest.raises(LostEpisodesError, match=re.escape(message)):
        ReplayBuffer(filled.directory, names=names).load_state_dict(state)
    assert not caplog.records  # the error says it
    buffer = ReplayBuffer(filled.directory, names=names)
    buffer.load_state_dict(state, accept_losses=True)
    assert list(buffer.episodes) == [name for name in names if name != episode_name(2)]
    (warning,) = caplog.messages
    assert message in warning and "goes on without them" in warning


def test_short_episodes_are_named_once_per_length(
    filled: ReplayBuffer, caplog: pytest.LogCaptureFixture, make_episode: Any
) -> None:
    generator = np.random.default_rng(0)
    with caplog.at_level(logging.WARNING, "planet"):
        tags = filled.sample(200, 8, generator).observation["image"][0, :, 0, 0, 0]
        path = filled.add(make_episode(steps=6))
        for length in (8, 8, 7, 4):
            filled.sample(200, length, generator)
    assert set(tags.tolist()) == {2, 3, 4}
    where = f"episodes in {filled.directory} are shorter than a chunk of"
    assert caplog.messages == [
        f"2 {where} 8 and not sampled: {episode_name(0)}, {episode_name(1)}",
        f"1 {where} 8 and not sampled: {path.name}",
        f"1 {where} 7 and not sampled: {episode_name(0)}",
    ]


def test_nothing_to_sample_is_an_error(tmp_path: Path, filled: ReplayBuffer) -> None:
    for buffer, count in ((ReplayBuffer(tmp_path / "empty"), 0), (filled, 5)):
        message = f"length: expected an episode of at least 11 entries in .* got {count} episodes"
        with pytest.raises(ValueError, match=message):
            buffer.sample(1, 11, np.random.default_rng(0))


def test_explicit_names_hide_other_files(filled: ReplayBuffer, make_episode: Any) -> None:
    names = [episode_name(index) for index in (2, 0, 7)]
    buffer = ReplayBuffer(filled.directory, names=names)
    assert list(buffer.episodes) == [episode_name(0), episode_name(2)]
    assert buffer.skipped == {episode_name(7): "No such file or directory"}
    assert ReplayBuffer(filled.directory, names=[]).next_index == 0
    buffer = ReplayBuffer(filled.directory, names=names[:2])
    assert buffer.add(make_episode(steps=30)).name == episode_name(3)  # replaces the unknown file
    assert buffer.episodes[episode_name(3)].length == 31
    buffer = ReplayBuffer(filled.directory, names=["../elsewhere/episode-000000.planet"])
    assert not buffer.episodes and buffer.skipped


@pytest.mark.parametrize("sampling", ["uniform", "recent"])
def test_resumed_buffer_samples_the_same(tmp_path: Path, make_episode: Any, sampling: str) -> None:
    def continued(buffer: ReplayBuffer, generator: np.random.Generator) -> list[Chunk]:
        chunks = [buffer.sample(40, 4, generator) for _ in range(3)]
        buffer.add(make_episode(steps=30, tag=9), 5)
        return [*chunks, buffer.sample(40, 4, generator)]

    settings: dict[str, Any] = {"sampling": sampling, "recent_draws": 100}
    buffer = ReplayBuffer(tmp_path, **settings)
    for tag in range(5):
        buffer.add(make_episode(tag=tag))
    buffer.refresh()
    buffer.sample(40, 4, np.random.default_rng(1))
    state = buffer.state_dict()
    expected = continued(buffer, np.random.default_rng(0))
    resumed = ReplayBuffer(tmp_path, names=state["names"], **settings)
    resumed.load_state_dict(state)
    received = continued(resumed, np.random.default_rng(0))
    assert all(same(*pair) for pair in zip(expected, received, strict=True))


def test_mixed_sizes_are_refused(filled: ReplayBuffer, make_episode: Any) -> None:
    wider, stronger = make_episode(image_size=(4, 8)), make_episode(actions=3)
    where = f"an entry as in {filled.directory / episode_name(0)}, got"
    with pytest.raises(ValueError, match=re.escape(f"image: expected uint8 [4, 6, 3] {where} ")):
        filled.add(wider)
    with pytest.raises(ValueError, match=re.escape(f"action: expected float32 [2] {where} ")):
        filled.add(stronger)
    assert len(list(filled.directory.iterdir())) == 5
    write_episode(filled.directory / episode_name(5), wider)
    with pytest.raises(ValueError, match=r"got uint8 \[4, 8, 3\] in episode-000005\.planet"):
        ReplayBuffer(filled.directory)


def test_file_that_vanished_is_named(filled: ReplayBuffer) -> None:
    for path in filled.directory.iterdir():
        path.unlink()
    with pytest.raises(CorruptEpisodeError, match=r"episode-00000\d\.planet: cannot be read"):
        filled.sample(5, 4, np.random.default_rng(0))


def test_wrong_settings_are_named(filled: ReplayBuffer) -> None:
    with pytest.raises(ValueError, match="recent_draws: expected a value >= 1, got 0"):
        ReplayBuffer(filled.directory, recent_draws=0)
    with pytest.raises(ValueError, match=r"sampling: expected one of \['uniform', 'recent'\], got"):
        ReplayBuffer(filled.directory, sampling="newest")
    with pytest.raises(ValueError, match="batch_size: expected a value >= 1, got 0"):
        filled.sample(0, 4, np.random.default_rng(0))
    with pytest.raises(ValueError, match="length: expected a value >= 1, got 0"):
        filled.sample(1, 0, np.random.default_rng(0))
    with pytest.raises(TypeError, match=r"generator: expected numpy\.random\.Generator, got int"):
        filled.sample(1, 4, 0)  # type: ignore[arg-type]


def test_episodes_of_the_paper_size_take_12_kilobytes_per_frame(tmp_path: Path) -> None:
    pixels = np.zeros((251, 64, 64, 3), np.uint8)
    action, reward = np.zeros((251, 6), np.float32), np.zeros(251, np.float32)
    buffer = ReplayBuffer(tmp_path)
    buffer.add(Episode({"image": pixels}, action, reward, np.zeros(251, bool)))
    assert buffer.total_bytes / buffer.total_frames < 64 * 64 * 3 + 6 * 4 + 4 + 1 + 3
