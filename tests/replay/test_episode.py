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


def with_value(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    changed = array.copy()
    changed[index] = value
    return changed


def test_episode_counts_entries_and_sums_rewards() -> None:
    episode = Episode(**fields())
    assert episode.length == 4
    assert episode.total_reward == 3.5


def test_episode_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Episode(**fields()).terminated = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"observation": [[1]]}, TypeError, "observation: expected numpy.ndarray, got list"),
        (
            {"observation": np.zeros((4, 2, 3, 3), np.float32)},
            TypeError,
            "observation: expected dtype uint8, got float32",
        ),
        ({"action": np.zeros((4, 2))}, TypeError, "action: expected dtype float32, got float64"),
        ({"reward": np.zeros(4, int)}, TypeError, "reward: expected dtype float32, got int64"),
        (
            {"observation": np.zeros((4, 3, 2, 3), np.uint8)[..., :1]},
            ValueError,
            "observation: expected shape [N+1, h, w, 3], got [4, 3, 2, 1]",
        ),
        (
            {"observation": np.zeros((4, 0, 2, 3), np.uint8)},
            ValueError,
            "observation: expected shape [N+1, h, w, 3], got [4, 0, 2, 3]",
        ),
        (
            {"observation": np.zeros((1, 2, 2, 3), np.uint8)},
            ValueError,
            "observation: expected at least 2 entries (1 step), got 1",
        ),
        (
            {"action": np.zeros((3, 2), np.float32)},
            ValueError,
            "action: expected shape [N+1=4, A], got [3, 2]",
        ),
        (
            {"action": np.zeros((4, 0), np.float32)},
            ValueError,
            "action: expected shape [N+1=4, A], got [4, 0]",
        ),
        (
            {"reward": np.zeros((4, 1), np.float32)},
            ValueError,
            "reward: expected shape [N+1=4], got [4, 1]",
        ),
        (
            {"action": with_value(fields()["action"], (2, 1), np.nan)},
            ValueError,
            "action: expected finite numbers, got nan at [2, 1]",
        ),
        (
            {"reward": with_value(fields()["reward"], (3,), np.inf)},
            ValueError,
            "reward: expected finite numbers, got inf at [3]",
        ),
        (
            {"action": np.ones((4, 2), np.float32)},
            ValueError,
            "action: expected zeros at index 0 (reset frame), got [1.0, 1.0]",
        ),
        (
            {"reward": np.ones(4, np.float32)},
            ValueError,
            "reward: expected 0 at index 0 (reset frame), got 1.0",
        ),
        ({"terminated": 1}, TypeError, "terminated: expected bool, got int"),
        ({"metadata": None}, TypeError, "metadata: expected dict, got NoneType"),
        ({"metadata": {1: 2}}, ValueError, "metadata: expected keys of type str, got 1"),
        (
            {"metadata": {"a": (1, 2)}},
            ValueError,
            "metadata['a']: expected JSON values, got (1, 2)",
        ),
        (
            {"metadata": {"a": float("nan")}},
            ValueError,
            "metadata['a']: expected JSON values, got nan",
        ),
        ({"metadata": {"a": {1: 2}}}, ValueError, "metadata['a']: expected JSON values"),
        ({"metadata": {"a": object}}, ValueError, "metadata['a']: expected JSON values"),
    ],
)
def test_episode_names_what_is_wrong(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Episode(**fields(**changes))
