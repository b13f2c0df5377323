"""Holds one interaction with an environment, from reset to the last step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.errors.checks import check_type
from planet.errors.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class Episode:
    """Holds N control steps as N + 1 entries; index 0 is the reset frame.

    Index t holds the observation, the action that led to it and the reward on arrival:

        index         0       1       2     ...    N
        observation  o_0     o_1     o_2    ...   o_N
        action        0      a_1     a_2    ...   a_N      a_t leads from o_{t-1} to o_t
        reward        0      r_1     r_2    ...   r_N      r_t is received together with o_t

    Attributes:
      observation: uint8 [N+1, h, w, 3] pixels.
      action: float32 [N+1, A]; the executed action, after noise and clipping.
      reward: float32 [N+1]; summed over the action repeat.
      terminated: True if the task ended itself at index N, False if time ran out.
      metadata: JSON values (task, seed, action_repeat, quality, ...).

    Raises:
      TypeError: an array, `terminated` or `metadata` is of another type.
      ValueError: a shape disagrees, a number is not finite, index 0 is not a reset frame, or
        `metadata` is not made of JSON values; the message names the argument.
    """

    observation: npt.NDArray[np.uint8]
    action: npt.NDArray[np.float32]
    reward: npt.NDArray[np.float32]
    terminated: bool
    metadata: dict[str, Any] = field(default_factory=dict)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name, dtype in (("observation", "uint8"), ("action", "float32"), ("reward", "float32")):
            _check_array(name, getattr(self, name), np.dtype(dtype))
        _check_shapes(self)
        _check_reset_frame(self.action, self.reward)
        check_type("terminated", self.terminated, bool)
        _check_metadata(self.metadata)

    @property
    def length(self) -> int:
        """Number of entries, N + 1."""
        return int(self.observation.shape[0])

    @property
    def total_reward(self) -> float:
        """Sum of the rewards (the episode's return), accumulated in float64."""
        return float(self.reward.sum(dtype=np.float64))


def _check_array(name: str, array: object, dtype: np.dtype[Any]) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected numpy.ndarray, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{name}: expected finite numbers, got {array[tuple(index)]} at {index}")


def _check_shapes(episode: Episode) -> None:
    observation, action, reward = episode.observation, episode.action, episode.reward
    shape = list(observation.shape)
    if observation.ndim != 4 or shape[3] != 3 or 0 in shape:
        raise ValueError(f"observation: expected shape [N+1, h, w, 3], got {shape}")
    length = shape[0]
    if length < 2:
        raise ValueError(f"observation: expected at least 2 entries (1 step), got {length}")
    if action.ndim != 2 or action.shape[0] != length or action.shape[1] < 1:
        raise ValueError(f"action: expected shape [N+1={length}, A], got {list(action.shape)}")
    if reward.shape != (length,):
        raise ValueError(f"reward: expected shape [N+1={length}], got {list(reward.shape)}")


def _check_reset_frame(action: npt.NDArray[Any], reward: npt.NDArray[Any]) -> None:
    if action[0].any():
        got = action[0].tolist()
        raise ValueError(f"action: expected zeros at index 0 (reset frame), got {got}")
    if reward[0] != 0:
        raise ValueError(f"reward: expected 0 at index 0 (reset frame), got {reward[0]}")


def _check_metadata(metadata: object) -> None:
    for key, value in check_type("metadata", metadata, dict).items():
        if not isinstance(key, str):
            raise ValueError(f"metadata: expected keys of type str, got {key!r}")
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError):
            same = False
        if not same:  # tuples and integer keys would come back changed
            raise ValueError(f"metadata[{key!r}]: expected JSON values, got {value!r}")
