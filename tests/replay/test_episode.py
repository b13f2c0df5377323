import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from planet.replay import Episode


def fields(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "observation": np.zeros((4, 2, 3, 3), np.uint8),
        "action": np.zeros((4, 2), np.float32),
        "reward": np.array([0, 1, 2, 0.5], np.float32),
        "terminated": False,
        "metadata": {"task": "toy", "seed": 1, "sizes": [1, 2.5, None, True]},
    }
    return values | changes


def test_episode_counts_entries_and_sums_rewards() -> None:
    episode = Episode(**fields())
    assert episode.length == 4
    assert episode.total_reward == 3.5


def test_episode_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Episode(**fields()).terminated = True  # type: ignore[misc]


def spoiled(name: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    array = fields()[name].copy()
    array[index] = value
    return {name: array}


def pixels(*shape: int) -> dict[str, np.ndarray]:
    return {"observation": np.zeros(shape, np.uint8)}


def zeros(name: str, *shape: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, dtype)}


WRONG_TYPE = "observation: expected dtype uint8, got float32"
NO_IMAGE = "observation: expected shape [N+1, h, w, 3], got"
NO_STEP = "observation: expected at least 2 entries (1 step), got 1"
NO_JSON = "metadata['a']: expected JSON values"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"observation": [[1]]}, TypeError, "observation: expected numpy.ndarray, got list"),
        (zeros("observation", 4, 2, 3, 3), TypeError, WRONG_TYPE),
        (zeros("action", 4, 2, dtype=int), TypeError, "action: expected dtype float32, got int64"),
        (zeros("reward", 4, dtype=int), TypeError, "reward: expected dtype float32, got int64"),
        (pixels(4, 3, 2, 1), ValueError, f"{NO_IMAGE} [4, 3, 2, 1]"),
        (pixels(4, 0, 2, 3), ValueError, f"{NO_IMAGE} [4, 0, 2, 3]"),
        (pixels(1, 2, 2, 3), ValueError, NO_STEP),
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
        ({"terminated": 1}, TypeError, "terminated: expected bool, got int"),
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
