"""Checks an environment's answers at every step, where a fault can still be named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from planet.errors.listing import listed, short
from planet.protocols import Observation
from planet.training.named_spaces import named_spaces

Outcome = tuple[Observation, float, bool, bool, Mapping[str, Any]]

_LARGEST = float(np.finfo(np.float32).max)  # rewards are kept in float32


class EpisodeError(RuntimeError):
    """Says that an environment failed or broke its promises; names episode, seed and step."""


class CheckedEnvironment:
    """Passes actions to an environment and its answers back, copied and checked.

    Observations come back by name: images as they are, other arrays in float32.

    Args:
      environment: with a Box of observations, or a Dict of such.
      name: of the episode and its seed, for errors.
    """

    def __init__(self, environment: Any, name: str) -> None:
        self._environment, self._name, self._steps = environment, name, 0
        space = environment.observation_space
        self._spaces, self._bare = named_spaces(space), not hasattr(space, "spaces")
        self._action_dtype = np.dtype(environment.action_space.dtype)

    def reset(self, seed: int) -> Observation:
        """Starts the episode; returns its first observation.

        Raises:
          EpisodeError: it fails, or returns something else than an observation and an info.
        """
        answer = self._call(lambda: self._environment.reset(seed=seed))
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            self._refuse("answer", "(observation, info), as Gymnasium has it", _shown(answer))
        return self._named(answer[0])

    def step(self, action: npt.NDArray[np.float32]) -> Outcome:
        """Acts with a copy of the action [A] in the dtype of its space; returns Gymnasium's five.

        Raises:
          EpisodeError: it fails, or one of the five is not what it must be.
        """
        self._steps += 1
        given = action.astype(self._action_dtype)
        answer = self._call(lambda: self._environment.step(given))
        if not isinstance(answer, (tuple, list)) or len(answer) != 5:
            expected = "(observation, reward, terminated, truncated, info), as Gymnasium has it"
            self._refuse("answer", expected, _shown(answer))
        observation, reward, terminated, truncated, info = answer
        if not isinstance(info, Mapping):
            self._refuse("info", "a dict", _shown(info))
        return (
            self._named(observation),
            self._reward(reward),
            self._flag("terminated", terminated),
            self._flag("truncated", truncated),
            info,
        )

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            text = f"{self._where()}: the environment raised {type(error).__name__}: {error}"
            raise EpisodeError(text) from error

    def _named(self, observation: Any) -> Observation:
        """Returns the observation's arrays by name."""
        if self._bare:
            return {name: self._array("observation", name, observation) for name in self._spaces}
        names = listed(map(repr, self._spaces))
        if not isinstance(observation, Mapping) or set(observation) != set(self._spaces):
            got = _shown(observation)
            got = listed(map(repr, observation)) if isinstance(observation, Mapping) else got
            self._refuse("observation", f"{names}, as the observation space says", got)
        return {
            name: self._array(f"observation[{name!r}]", name, observation[name])
            for name in self._spaces
        }

    def _array(self, what: str, name: str, given: Any) -> npt.NDArray[Any]:
        """Returns a copy of an array, in float32 unless it is an image."""
        shape = tuple(self._spaces[name].shape)
        dtype = np.dtype(self._spaces[name].dtype)
        try:
            array = np.array(given)
        except Exception:  # of ragged lists, of tensors on a device
            array = np.empty(0, object)
        if array.dtype != dtype or array.shape != shape:
            kind = type(given).__name__
            got = kind if array.dtype == object else f"{array.dtype} {list(array.shape)}"
            expected = f"{dtype} {list(shape)}, as the observation space says"
            self._refuse(what, expected, got)
        if name == "image":
            return array
        with np.errstate(over="ignore"):
            kept = array.astype(np.float32)
        if np.isfinite(kept).all():
            return kept
        where = np.argwhere(~np.isfinite(kept))[0].tolist()
        got = f"{array[tuple(where)]} at {where}"
        self._refuse(what, "finite numbers, within float32", got)

    def _reward(self, reward: Any) -> float:
        value = _scalar(reward)
        if not isinstance(value, (int, float, np.floating)) or not -_LARGEST <= value <= _LARGEST:
            self._refuse("reward", "a finite number, within float32", _shown(reward))
        return float(value)

    def _flag(self, name: str, flag: Any) -> bool:
        value = _scalar(flag)
        if not isinstance(value, int) or value not in (False, True):
            self._refuse(name, "True or False", _shown(flag))
        return bool(value)

    def _refuse(self, what: str, expected: str, got: str) -> NoReturn:
        raise EpisodeError(f"{self._where()}: {what}: expected {expected}, got {got}")

    def _where(self) -> str:
        return f"{self._name}, {f'step {self._steps}' if self._steps else 'reset'}"


def _scalar(value: Any) -> Any:
    """Returns the Python number of an array or tensor without axes; anything else as it is."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


def _shown(got: Any) -> str:
    """Shows numbers and texts as they are, and the kind of what may raise when it is written."""
    value, kind = _scalar(got), type(got).__name__
    if isinstance(got, (tuple, list)):
        return f"a {kind} of {len(got)}"
    if value is None or isinstance(value, (int, float, complex, str)):
        return short(repr(value) if isinstance(value, str) else value)
    shape = getattr(got, "shape", ())
    return f"{kind} {list(shape)}" if isinstance(shape, tuple) and shape else kind
