import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from planet.replay import Episode

VECTOR = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)


INFINITY = np.float32(np.inf)


def fields(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "observation": {"image": np.zeros((4, 2, 3, 3), np.uint8), "vector": VECTOR},
        "action": np.zeros((4, 2), np.float32),
        "reward": np.array([0, 1, 2, 0.5], np.float32),
        "terminated": np.array([False, False, False, True]),
        "metadata": {"task": "toy", "seed": 1, "sizes": [1, 2.5, None, True]},
    }
    return values | changes


def test_episode_counts_entries_and_sums_rewards() -> None:
    episode = Episode(**fields())
    assert episode.length == 4
    assert episode.total_reward == 3.5


def test_episode_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Episode(**fields()).reward = VECTOR[:, 0]  # type: ignore[misc]


def test_observations_are_those_that_were_given_whatever_becomes_of_the_mapping() -> None:
    given = fields()
    episode = Episode(**given)
    given["observation"].clear()
    assert list(episode.observation) == ["image", "vector"]


def test_arrays_make_the_episode_again() -> None:
    arrays = Episode(**fields()).arrays
    assert list(arrays) == ["reward", "action", "terminated", "image", "vector"]
    again = Episode.of_arrays(dict(reversed(arrays.items())), {"seed": 1})
    assert all(again.arrays[name] is array for name, array in arrays.items())
    del arrays["terminated"]
    with pytest.raises(ValueError, match="terminated: expected an array of this name, got"):
        Episode.of_arrays(arrays, {})


def spoiled(name: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    array = fields()[name].copy()
    array[index] = value
    return {name: array}


def pixels(*shape: int) -> dict[str, Any]:
    return seen(image=np.zeros(shape, np.uint8))


def seen(**arrays: Any) -> dict[str, Any]:
    return {"observation": arrays}


def zeros(name: str, *shape: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, dtype)}


NO_IMAGE = "image: expected shape [N+1=4, h, w, 3 * frames], got"
NO_STEP = "reward: expected at least 2 entries (1 step), got 1"
NO_NAME = "observation: expected printable names other than action, reward, terminated, metadata"
NO_JSON = "metadata['a']: expected JSON values"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"observation": VECTOR}, TypeError,
         "observation: expected a mapping of arrays by name, got ndarray"),
        (seen(), ValueError, "observation: expected at least one array, got none"),
        (seen(reward=VECTOR), ValueError, f"{NO_NAME}, got 'reward'"),
        ({"observation": {1: VECTOR}}, ValueError, f"{NO_NAME}, got 1"),
        (seen(image=[[1]]), TypeError, "image: expected numpy.ndarray, got list"),
        (seen(image=VECTOR), TypeError, "image: expected dtype uint8, got float32"),
        (seen(speed=VECTOR.astype(float)), TypeError, "speed: expected dtype float32, got float64"),
        (seen(speed=VECTOR[:, 0]), ValueError, "speed: expected shape [N+1=4, V], got [4]"),
        (seen(speed=VECTOR * INFINITY), ValueError,
         "speed: expected finite numbers, got -inf at [0, 0]"),
        (zeros("action", 4, 2, dtype=int), TypeError, "action: expected dtype float32, got int64"),
        (zeros("reward", 4, dtype=int), TypeError, "reward: expected dtype float32, got int64"),
        (pixels(4, 3, 2, 1), ValueError, f"{NO_IMAGE} [4, 3, 2, 1]"),
        (pixels(4, 0, 2, 3), ValueError, f"{NO_IMAGE} [4, 0, 2, 3]"),
        (pixels(3, 2, 2, 3), ValueError, f"{NO_IMAGE} [3, 2, 2, 3]"),
        (pixels(4, 2, 2, 4), ValueError, f"{NO_IMAGE} [4, 2, 2, 4]"),
        (zeros("reward", 1), ValueError, NO_STEP),
        (zeros("action", 3, 2), ValueError, "action: expected shape [N+1=4, A], got [3, 2]"),
        (zeros("action", 4, 0), ValueError, "action: expected shape [N+1=4, A], got [4, 0]"),
        (zeros("reward", 4, 1), ValueError, "reward: expected shape [N+1=4], got [4, 1]"),
        (spoiled("action", (2, 1), np.nan), ValueError,
         "action: expected finite numbers, got nan at [2, 1]"),
        (spoiled("reward", (3,), np.inf), ValueError,
         "reward: expected finite numbers, got inf at [3]"),
        (spoiled("action", (0,), 1), ValueError,
         "action: expected zeros at index 0 (reset frame), got [1.0, 1.0]"),
        (spoiled("reward", (0,), 1), ValueError,
         "reward: expected 0 at index 0 (reset frame), got 1.0"),
        ({"terminated": True}, TypeError, "terminated: expected numpy.ndarray, got bool"),
        (zeros("terminated", 4), TypeError, "terminated: expected dtype bool, got float32"),
        (zeros("terminated", 3, dtype=bool), ValueError, "terminated: expected shape [N+1=4], got"),
        ({"terminated": np.array([False, True, False, True])}, ValueError,
         "terminated: expected True at index 3 alone, got 1"),
        ({"metadata": None}, TypeError, "metadata: expected dict, got NoneType"),
        ({"metadata": {1: 2}}, ValueError, "metadata: expected keys of type str, got 1"),
        ({"metadata": {"a": (1, 2)}}, ValueError, f"{NO_JSON}, got (1, 2)"),
        ({"metadata": {"a": float("nan")}}, ValueError, f"{NO_JSON}, got nan"),
        ({"metadata": {"a": {1: 2}}}, ValueError, NO_JSON),
        ({"metadata": {"a": object}}, ValueError, NO_JSON),
    ],
)  # fmt: skip
def test_episode_names_what_is_wrong(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Episode(**fields(**changes))
