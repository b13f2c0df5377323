import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planet.replay import (
    CorruptEpisodeError,
    Episode,
    read_chunk,
    read_episode,
    read_info,
    verify_episode,
    write_episode,
)


def small_episode() -> Episode:
    generator = np.random.default_rng(5)
    action = generator.uniform(-1, 1, (4, 2)).astype(np.float32)
    reward = generator.uniform(0, 1, 4).astype(np.float32)
    action[0] = reward[0] = 0
    pixels = generator.integers(0, 256, (4, 2, 3, 3), np.uint8)
    return Episode(pixels, action, reward, True, {"task": "ünit", "seed": 2**60})


def assert_equal(received: Episode, expected: Episode) -> None:
    for name in ("observation", "action", "reward"):
        assert getattr(received, name).dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(getattr(received, name), getattr(expected, name))
    assert received.terminated is expected.terminated
    assert received.metadata == expected.metadata


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("content") / "episode.planet"
    write_episode(path, small_episode())
    return path.read_bytes()


def test_episode_comes_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "episode.planet"
    written = write_episode(path, small_episode())
    assert_equal(read_episode(path), small_episode())
    assert written == read_info(path) == verify_episode(path)
    assert written.file_bytes == path.stat().st_size
    assert (written.length, written.image_size, written.action_size) == (4, (2, 3), 2)
    assert written.total_reward == small_episode().total_reward
    assert os.listdir(tmp_path) == ["episode.planet"]


def test_strided_arrays_are_written_by_value(tmp_path: Path) -> None:
    episode = small_episode()
    action, reward = np.asfortranarray(episode.action), np.repeat(episode.reward, 2)[::2]
    flipped = Episode(episode.observation[:, ::-1, ::-1], action, reward, False)
    write_episode(tmp_path / "episode.planet", flipped)
    assert_equal(read_episode(tmp_path / "episode.planet"), flipped)


def test_every_chunk_is_the_slice_of_the_episode(tmp_path: Path) -> None:
    info = write_episode(tmp_path / "episode.planet", small_episode())
    for start in range(4):
        for length in range(1, 5 - start):
            chunk = read_chunk(info, start, length)
            for received, name in zip(chunk, ("observation", "action", "reward"), strict=True):
                expected = getattr(small_episode(), name)[start : start + length]
                np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 0), (0, 5), (3, 2), (4, 1)])
def test_chunk_outside_the_episode_is_refused(tmp_path: Path, start: int, length: int) -> None:
    info = write_episode(tmp_path / "episode.planet", small_episode())
    with pytest.raises(ValueError, match=r"start, length: expected a range within \[0, 4\)"):
        read_chunk(info, start, length)


def test_chunk_of_a_file_that_shrank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episode.planet"
    info = write_episode(path, small_episode())
    os.truncate(path, info.file_bytes - 1)
    with pytest.raises(CorruptEpisodeError, match=r"episode\.planet: truncated"):
        read_chunk(info, 3, 1)


def test_file_cut_at_any_byte_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "episode.planet"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(CorruptEpisodeError) as caught:
            verify_episode(path)
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        assert caught.value.reason.endswith("the file is truncated") or size < 8


def test_a_flipped_bit_in_any_byte_is_found(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "episode.planet"
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        for read in (verify_episode, read_episode):
            with pytest.raises(CorruptEpisodeError, match=r"episode\.planet: "):
                read(path)


@given(data=st.data())
def test_any_other_content_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 40)))
    other = content[:start] + data.draw(st.binary(max_size=40)) + content[stop:]
    path = tmp_path_factory.mktemp("other") / "episode.planet"
    path.write_bytes(other)
    if other == content:
        assert_equal(read_episode(path), small_episode())
    else:
        for read in (verify_episode, read_episode):
            with pytest.raises(CorruptEpisodeError, match=r"episode\.planet: "):
                read(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda c: b"PK\x03\x04" + c[4:], "magic: expected PLANETEP, got no episode file ("),
        (lambda c: c + b"\0", "length: expected "),
        (lambda c: c[:8] + b"\2" + c[9:], "version: written by a newer planet (format 2, this "),
        (lambda c: c[:8] + b"\0" + c[9:], "version: expected 1, got 0"),
        (lambda c: c[:16] + b"\0\0\0\0" + c[20:], "checksum of the header: expected 00000000, "),
        (lambda c: c[:-1] + b"\0", "checksum of observation: expected "),
    ],
)
def test_damage_is_explained(tmp_path: Path, content: bytes, damage: object, reason: str) -> None:
    path = tmp_path / "episode.planet"
    path.write_bytes(damage(content))  # type: ignore[operator]
    with pytest.raises(CorruptEpisodeError) as caught:
        verify_episode(path)
    assert caught.value.reason.startswith(reason)
    assert caught.value.path == path


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.planet"):
        read_episode(tmp_path / "missing.planet")
