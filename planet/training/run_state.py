"""Checks the content of a run's checkpoint before any of it is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.config import Config
from planet.errors.scalars import check_int
from planet.protocols import Learner, Spec
from planet.replay import episode_index
from planet.storage.checkpoint import CheckpointError
from planet.training.action_box import ActionBox
from planet.training.learner_state import same_names, table
from planet.training.schedule import updates_due
from planet.weights.shapes import MAX_SIZE

Array = tuple[npt.DTypeLike, tuple[int, ...]]


@dataclass(frozen=True)
class RunState:
    """Holds the whole state of a run between two steps.

    Attributes:
      config: settings.
      spec: of the environment that the agent acts in.
      learner: `Learner.state_dict()`.
      episodes: collected so far.
      environment_steps: control steps of these episodes.
      evaluated: number of episodes at the last evaluation; -1: none yet.
      lines: of metrics.
      metrics_checksum: their CRC-32.
      sums: of the metrics since their last line, by name.
      count: updates since that line.
      replay: `ReplayBuffer.state_dict()`.
    """

    config: Config
    spec: Spec
    learner: dict[str, Any]
    episodes: int
    environment_steps: int
    evaluated: int
    lines: int
    metrics_checksum: int
    sums: dict[str, float]
    count: int
    replay: dict[str, Any]

    @property
    def updates(self) -> int:
        """Counts the gradient steps so far."""
        return int(self.learner["updates"])

    def to_payload(self) -> dict[str, Any]:
        """Returns plain values and tensors for `save_checkpoint`."""
        plain = {name: value for name, value in vars(self).items() if name != "spec"}
        observation = {
            name: [str(np.dtype(dtype)), list(shape)]
            for name, (dtype, shape) in self.spec.observation.items()
        }
        return {
            **plain,
            "config": self.config.to_dict(),
            "actions": ActionBox(self.spec.low, self.spec.high).to_dict(),
            "observation": observation,
        }

    @staticmethod
    def from_payload(path: Path, payload: dict[str, Any]) -> RunState:
        """Inverts `to_payload`, for content that anybody may have written.

        The learner's part is left to `Learner.load_state_dict`, which knows what fits.

        Raises:
          CheckpointError: `payload` is no state of a run; the message names `path` and the fault.
        """
        try:
            return _parse(payload)
        except ValueError as error:
            raise CheckpointError(path, f"is no checkpoint of a run: {error}") from error


def check_spec(path: Path, trained: Spec, spec: Spec) -> None:
    """Raises ValueError unless a checkpoint, or a run, was trained in such an environment."""
    before, now = (_shown_arrays(each.observation) for each in (trained, spec))
    if before != now:
        expected = f"observations {before}, on which {path} was trained"
        raise ValueError(f"environment: expected {expected}, got {now}")
    _check_actions(path, ActionBox(trained.low, trained.high), ActionBox(spec.low, spec.high))


def _shown_arrays(observation: Mapping[str, Array]) -> str:
    """Writes arrays by name, in any order the same."""
    arrays = sorted(observation.items())
    return ", ".join(f"{name} {np.dtype(dtype)} {[*shape]}" for name, (dtype, shape) in arrays)


def _check_actions(path: Path, trained: ActionBox, actions: ActionBox) -> None:
    if trained == actions:
        return
    where = ""
    if trained.size == actions.size > 1:
        differs = (trained.low != actions.low) | (trained.high != actions.high)
        where = f"; dimension {int(differs.argmax())} is the first that differs"
    expected = f"actions {trained}, in which {path} was trained"
    raise ValueError(f"environment: expected {expected}, got {actions}{where}")


def load_learner(path: Path, learner: Learner, state: RunState) -> None:
    """Lets a learner go on from a checkpoint; raises CheckpointError where that does not fit."""
    try:
        learner.load_state_dict(state.learner)
    except ValueError as error:
        raise CheckpointError(path, f"does not fit the run's model: {error}") from error


def _parse(payload: Mapping[str, Any]) -> RunState:
    same_names(
        "sections, as of another release",
        set(payload),
        {field.name for field in fields(RunState)} - {"spec"} | {"actions", "observation"},
    )
    try:
        config = Config.from_dict(payload["config"])
    except ValueError as error:
        raise ValueError(f"config: {error}") from error
    learner, replay = table(payload, "learner"), table(payload, "replay")
    box = _box(payload)
    state = RunState(
        config=config,
        spec=Spec(_observation(payload), box.low, box.high),
        learner={**learner, "updates": _whole(learner, "updates", 0)},
        episodes=_whole(payload, "episodes", 0),
        environment_steps=_whole(payload, "environment_steps", 0),
        evaluated=_whole(payload, "evaluated", -1),
        lines=_whole(payload, "lines", 0),
        metrics_checksum=_whole(payload, "metrics_checksum", 0, 2**32 - 1),
        sums=_sums(payload),
        count=_whole(payload, "count", 0),
        replay={
            "names": _list(replay, "names", str),
            "checksums": _list(replay, "checksums", int),
            "recent": _list(replay, "recent", str),
            "draws": _whole(replay, "draws", 0),
        },
    )
    _check_counters(state)
    return state


def _check_counters(state: RunState) -> None:
    """Refuses counters that no run of these settings passes through."""
    names, most = state.replay["names"], updates_due(state.config.train, state.episodes)
    if state.updates > most:
        raise ValueError(f"{state.updates} updates; {state.episodes} episodes allow {most}")
    if state.evaluated > state.episodes:
        raise ValueError(f"evaluated after {state.evaluated} of {state.episodes} episodes")
    if state.count > state.updates:
        raise ValueError(f"metrics of {state.count} updates; there were {state.updates}")
    indices = [episode_index(name) for name in names]
    among = all(index is not None and index < state.episodes for index in indices)
    if not among or len(set(names)) < len(names):
        raise ValueError(f"names: expected different ones of the first {state.episodes} episodes")
    if len(names) != len(state.replay["checksums"]) or not {*state.replay["recent"]} <= {*names}:
        raise ValueError("names of episodes that differ from section to section")


def _whole(values: Mapping[str, Any], name: str, least: int, most: int = 2**63 - 1) -> int:
    value = values.get(name)
    if type(value) is not int:
        raise ValueError(f"{name}: expected an int, got {type(value).__name__}")
    return check_int(name, value, least, most)


def _sums(payload: Mapping[str, Any]) -> dict[str, float]:
    sums = table(payload, "sums")
    for name, value in sums.items():
        if type(name) is not str or type(value) is not float or not math.isfinite(value):
            raise ValueError("sums: expected finite numbers by name")
    return sums


def _list(values: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    value = values.get(name)
    if not isinstance(value, list) or not all(type(item) is kind for item in value):
        raise ValueError(f"{name}: expected a list of {kind.__name__}s")
    return value


def _observation(payload: Mapping[str, Any]) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for name, array in table(payload, "observation").items():
        match array:
            case ["uint8" | "float32" as dtype, [*shape]] if (
                type(name) is str and shape and all(type(n) is int and n > 0 for n in shape)
            ):
                arrays[name] = (np.dtype(dtype), tuple(shape))
            case _:
                raise ValueError("observation: expected dtype uint8 or float32, and shape, by name")
    if not arrays:
        raise ValueError("observation: expected an array, got none")
    return arrays


def _box(payload: Mapping[str, Any]) -> ActionBox:
    bounds = table(payload, "actions")
    same_names("actions", set(bounds), {"low", "high"})
    box = ActionBox.from_dict({name: _list(bounds, name, float) for name in bounds})
    if not 1 <= len(box.low) == len(box.high) <= MAX_SIZE or not (
        np.isfinite([box.low, box.high]).all() and (box.low <= box.high).all()
    ):
        raise ValueError("actions: expected finite bounds, low <= high")
    return box
