"""Episodes as files of numpy: exactly ours, and what other programs write."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planet.replay import Episode, NpzError, read_npz, write_npz

EPISODE = Episode(
    {
        "image": np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3),
        "file/ä.npy": np.array([[-0.0], [1e-45], [3.4e38], [0.1]], np.float32),
    },
    np.array([[0, 0], [1, -1], [0.25, 0], [0.5, 1]], np.float32),
    np.array([0, 1, -2, 0.3], np.float32),
    np.array([False, False, False, True]),
    {"task": "ünit\0", "numbers": [0.1, 2**60], "seed": None},
)


def foreign(**changes: Any) -> dict[str, Any]:
    """Arrays as numpy users write them."""
    arrays: dict[str, Any] = {
        "angle": np.linspace(-1, 1, 8).reshape(4, 2),
        "action": np.array([[0], [1], [2], [3]]),
        "reward": np.array([0, 1, 0.5, 1 / 3]),
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def saved(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path / "it.npz", **arrays)
    return path / "it.npz"


def test_an_episode_comes_back_bit_for_bit(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", EPISODE)
    episode, told = read_npz(tmp_path / "a.npz")
    assert told and episode.metadata == EPISODE.metadata
    assert list(episode.arrays) == list(EPISODE.arrays)
    for name, array in EPISODE.arrays.items():
        assert episode.arrays[name].dtype == array.dtype
        assert episode.arrays[name].tobytes() == array.tobytes()
    with np.load(tmp_path / "a.npz") as file:  # numpy's own reader
        np.testing.assert_array_equal(file["file/ä.npy"], EPISODE.observation["file/ä.npy"])


def test_numbers_of_other_types_become_float32_and_termination_false(tmp_path: Path) -> None:
    episode, told = read_npz(saved(tmp_path, **foreign()))
    assert not told and not episode.terminated.any() and episode.metadata == {}
    np.testing.assert_array_equal(episode.observation["angle"], foreign()["angle"].astype("f4"))
    assert episode.reward.tolist() == np.array([0, 1, 0.5, 1 / 3], np.float32).tolist()
    ended = np.array([0, 0, 0, 1])
    assert read_npz(saved(tmp_path, **foreign(terminated=ended)))[0].terminated.tolist()[-1] is True


def test_observations_are_chosen_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path, **foreign(discount=np.ones(4), speed=np.ones((4, 1))))
    assert list(read_npz(path, ["speed"])[0].observation) == ["speed"]
    with pytest.raises(NpzError, match=r"discount: expected shape \[N\+1=4, V\], got \[4\]"):
        read_npz(path)
    with pytest.raises(NpzError, match="weight: expected an array of this name, got"):
        read_npz(path, ["weight"])


LATE = "np.concatenate([np.zeros_like(x[:1]), x])"
ROLLED = "np.concatenate([np.zeros_like(x[:1]), x[:-1]])"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": np.ones((3, 1))}, "action: expected as many entries as observations, 4, got 3"),
        ({"action": np.ones((3, 1))}, LATE),
        ({"action": np.ones((4, 1))}, "action: expected zeros at index 0 (reset frame), got [1.0]"),
        ({"reward": np.ones(4)}, ROLLED),
        ({"reward": None}, "reward: expected an array of several entries, got none"),
        ({"angle": None}, "observation: expected at least one array, got none"),
        ({"image": np.zeros((4, 2, 2, 3))}, "image: expected dtype uint8, got float64"),
        ({"flag": np.zeros((4, 1), bool)}, "flag: expected dtype float32, got bool"),
        ({"angle": np.full((4, 1), 1e40)}, "angle: expected finite numbers, got inf at [0, 0]"),
        ({"angle": np.full((4, 1), 2**24 + 1)}, "angle: expected integers that float32 holds"),
        ({"terminated": np.full(4, 2)}, "terminated: expected dtype bool, got int64"),
        ({"metadata": np.array("[1]")}, "metadata: expected a JSON object as text, got <U3 []"),
        ({"metadata": np.array(7)}, "metadata: expected a JSON object as text, got int64 []"),
        ({"angle": np.array([{}] * 4)}, "npz file cannot be understood"),
    ],
)
def test_what_is_no_episode_is_refused_by_file_and_array(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path, **foreign(**changes))
    with pytest.raises(NpzError, match=re.escape(message)) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, **foreign())
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position])
        with pytest.raises(NpzError):
            read_npz(path)
        changed = bytearray(content)
        changed[position] ^= 0x41
        path.write_bytes(changed)
        try:  # some bytes of an archive say nothing
            arrays = read_npz(path)[0].arrays
        except NpzError:
            continue
        assert {"action", "reward"} < arrays.keys()
