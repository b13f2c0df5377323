"""Holds one interaction with an environment, from reset to the last step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.errors.checks import check_type
from planet.errors.short_repr import short_repr

_DTYPES = {"image": "uint8", "terminated": "bool"}  # all others are float32
_LAYOUTS = {"reward": "", "terminated": "", "action": ", A", "image": ", h, w, 3 * frames"}
_VECTOR = ", V"  # every other array
OWN = ("action", "reward", "terminated")
"""Names of the arrays that every episode has; all others are observations."""
_TAKEN = (*OWN, "metadata")  # no names of observations


@dataclass(frozen=True, eq=False)
class Episode:
    """Holds N control steps as N + 1 entries; index 0 is the reset frame.

    Index t holds the observation, the action that led to it and the reward on arrival:

        index         0       1       2     ...    N
        observation  o_0     o_1     o_2    ...   o_N
        action        0      a_1     a_2    ...   a_N      a_t leads from o_{t-1} to o_t
        reward        0      r_1     r_2    ...   r_N      r_t is received together with o_t
        terminated  False   False   False   ...   d_N      whether the task ended itself there

    Attributes:
      observation: one array or more by name; `image` is uint8 [N+1, h, w, 3 * frames], every
        other one float32 [N+1, V].
      action: float32 [N+1, A]; the executed action, after noise and clipping.
      reward: float32 [N+1]; summed over the action repeat.
      terminated: bool [N+1]; True at most at index N, where False says that time ran out.
      metadata: JSON values (task, seed, action_repeat, quality, ...).

    Raises:
      TypeError: an array, `observation` or `metadata` is of another type.
      ValueError: a name or shape does not fit, a number is not finite, index 0 is not a reset
        frame, or `metadata` is not made of JSON values; the message names the array or argument.
    """

    observation: Mapping[str, npt.NDArray[Any]]
    action: npt.NDArray[np.float32]
    reward: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    metadata: dict[str, Any] = field(default_factory=dict)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        _check_names(self.observation)
        object.__setattr__(self, "observation", dict(self.observation))
        arrays = self.arrays
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name}: expected numpy.ndarray, got {type(array).__name__}")
        length = self.reward.size
        if length < 2:
            raise ValueError(f"reward: expected at least 2 entries (1 step), got {length}")
        for name, array in arrays.items():
            check_layout(name, array.dtype, array.shape, length)
            _check_finite(name, array)
        _check_reset_frame(self.action, self.reward)
        if self.terminated[:-1].any():
            index = int(self.terminated.argmax())
            raise ValueError(f"terminated: expected True at index {length - 1} alone, got {index}")
        _check_metadata(self.metadata)

    @staticmethod
    def of_arrays(arrays: Mapping[str, npt.NDArray[Any]], metadata: dict[str, Any]) -> Episode:
        """Makes an episode of what `arrays` returned, in any order.

        Raises:
          TypeError, ValueError: as the class; `action`, `reward` or `terminated` may be missing.
        """
        if missing := [name for name in OWN if name not in arrays]:
            raise ValueError(f"{missing[0]}: expected an array of this name, got {[*arrays]}")
        observation = {name: array for name, array in arrays.items() if name not in OWN}
        action, reward, terminated = (arrays[name] for name in OWN)
        return Episode(observation, action, reward, terminated, metadata)

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name: reward, action, terminated, then observations by their names."""
        own = {"reward": self.reward, "action": self.action, "terminated": self.terminated}
        return own | {name: self.observation[name] for name in sorted(self.observation)}

    @property
    def length(self) -> int:
        """Number of entries, N + 1."""
        return len(self.reward)

    @property
    def total_reward(self) -> float:
        """Sum of the rewards (the episode's return), accumulated in float64."""
        return float(self.reward.sum(dtype=np.float64))


def check_layout(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], length: int) -> None:
    """Checks dtype and shape of an episode's array by its name.

    Raises:
      TypeError: the dtype is another one.
      ValueError: the shape is another one; `length` is N + 1.
    """
    expected, layout = np.dtype(_DTYPES.get(name, "float32")), _LAYOUTS.get(name, _VECTOR)
    if dtype != expected:
        raise TypeError(f"{name}: expected dtype {expected}, got {dtype}")
    fits = len(shape) == 1 + layout.count(",") and shape[0] == length and min(shape) > 0
    if not fits or (name == "image" and shape[3] % 3):
        raise ValueError(f"{name}: expected shape [N+1={length}{layout}], got {list(shape)}")


def _check_names(observation: object) -> None:
    if not isinstance(observation, Mapping):
        kind = type(observation).__name__
        raise TypeError(f"observation: expected a mapping of arrays by name, got {kind}")
    names = list(observation)
    if not names:
        raise ValueError("observation: expected at least one array, got none")
    for name in names:
        if type(name) is not str or not name or not name.isprintable() or name in _TAKEN:
            expected = f"printable names other than {', '.join(_TAKEN)}"
            raise ValueError(f"observation: expected {expected}, got {name!r}")


def _check_finite(name: str, array: npt.NDArray[Any]) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{name}: expected finite numbers, got {array[tuple(index)]} at {index}")


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
