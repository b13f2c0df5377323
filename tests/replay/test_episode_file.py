import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

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
    observation = {
        "vector": generator.normal(size=(4, 5)).astype(np.float32),
        "image": generator.integers(0, 256, (4, 2, 3, 6), np.uint8),
        "größe": generator.normal(size=(4, 1)).astype(np.float32),
    }
    ended = np.array([False, False, False, True])
    return Episode(observation, action, reward, ended, {"task": "ünit", "seed": 2**60})


def assert_equal(received: Episode, expected: Episode) -> None:
    assert list(received.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        assert received.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(received.arrays[name], array)
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
    assert written.length == 4 and written.ended is None
    assert written.sizes == {
        "reward": ("float32", ()), "action": ("float32", (2,)), "terminated": ("bool", ()),
        "größe": ("float32", (1,)), "image": ("uint8", (2, 3, 6)), "vector": ("float32", (5,)),
    }  # fmt: skip
    assert written.total_reward == small_episode().total_reward
    assert os.listdir(tmp_path) == ["episode.planet"]


def test_strided_arrays_are_written_by_value(tmp_path: Path) -> None:
    episode = small_episode()
    action, reward = np.asfortranarray(episode.action), np.repeat(episode.reward, 2)[::2]
    observation = {"image": episode.observation["image"][:, ::-1, ::-1]}
    flipped = Episode(observation, action, reward, np.zeros(8, bool)[::2])
    write_episode(tmp_path / "episode.planet", flipped)
    assert_equal(read_episode(tmp_path / "episode.planet"), flipped)


def test_every_chunk_is_the_slice_of_the_episode(tmp_path: Path) -> None:
    info = write_episode(tmp_path / "episode.planet", small_episode())
    for start in range(4):
        for length in range(1, 5 - start):
            chunk = read_chunk(info, start, length)
            for name, array in small_episode().arrays.items():
                np.testing.assert_array_equal(chunk.pop(name), array[start : start + length])
            assert not chunk


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
        (lambda c: c[:8] + b"\3" + c[9:], "version: written by a newer planet (format 3, this "),
        (lambda c: c[:8] + b"\0" + c[9:], "version: expected 1 to 2, got 0"),
        (lambda c: c[:16] + b"\0\0\0\0" + c[20:], "checksum of the header: expected 00000000, "),
        (lambda c: c[:-1] + b"\0", "checksum of vector: expected "),
    ],
)
def test_damage_is_explained(tmp_path: Path, content: bytes, damage: object, reason: str) -> None:
    path = tmp_path / "episode.planet"
    path.write_bytes(damage(content))  # type: ignore[operator]
    with pytest.raises(CorruptEpisodeError) as caught:
        verify_episode(path)
    assert caught.value.reason.startswith(reason)
    assert caught.value.path == path


def test_format_1_is_read_as_it_was_written() -> None:
    path = Path(__file__).parents[1] / "data" / "episode_format_1.planet"
    t = np.arange(7)
    pixels = (37 * np.arange(7 * 8 * 8 * 3) % 251).astype(np.uint8).reshape(7, 8, 8, 3)
    action, reward = np.stack([t / 8, -t / 4], axis=1), t * t / 16
    metadata = {"task": "ünit", "seed": 5, "environment_steps": 6}
    arrays = {"image": pixels}, action.astype(np.float32), reward.astype(np.float32), t == 6
    assert_equal(read_episode(path), Episode(*arrays, metadata))
    info = verify_episode(path)
    assert info.file_bytes == path.stat().st_size and info.ended is True
    for start in range(6):
        chunk = read_chunk(info, start, 2)
        np.testing.assert_array_equal(chunk["image"], pixels[start : start + 2])
        assert chunk["terminated"].tolist() == [False, start == 5]


def headed(header: dict[str, Any]) -> bytes:
    """An intact file of format 2 with this header and no arrays."""
    text = json.dumps(header).encode()
    start = b"PLANETEP" + struct.pack("<II", 2, len(text))
    return start + struct.pack("<I", zlib.crc32(text, zlib.crc32(start))) + text


ROW = {"name": "reward", "dtype": "float32", "shape": [], "checksum": 0}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [ROW],
        [ROW | {"dtype": "object"}],
        [ROW | {"name": "image", "dtype": "uint8", "shape": [-1, 2, 3]}],
        [ROW | {"name": "action", "shape": [2]}, ROW, ROW | {"name": "vector", "shape": [0]}],
        [ROW | {"shape": ["x"]}],
        [ROW | {"name": []}],
        {"reward": ROW},
    ],
)
def test_headers_without_sense_are_refused(tmp_path: Path, rows: Any) -> None:
    path = tmp_path / "episode.planet"
    path.write_bytes(headed({"length": 2, "arrays": rows, "total_reward": 0, "metadata": {}}))
    with pytest.raises(CorruptEpisodeError, match="header cannot be understood"):
        read_info(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.planet"):
        read_episode(tmp_path / "missing.planet")
