"""Writes an episode as a file of numpy, and reads episodes that other programs write so."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from planet.replay.episode import OWN, Episode
from planet.storage import framed
from planet.storage.atomic import atomic_write, read_file

Arrays = dict[str, npt.NDArray[Any]]

_END = ".npy"  # of an array's name in the archive
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_SHIFT = (
    "index t holds the action that led to observation t; one that was taken at observation t is "
    "shifted by np.concatenate([np.zeros_like(x[:1]), x{}]), action and reward alike"
)


class NpzError(framed.FileError):
    """Says that a file of numpy holds no episode."""


def write_npz(path: Path | str, episode: Episode) -> None:
    """Writes or replaces an npz file: the episode's arrays by name, and its metadata as JSON text.

    `read_npz` returns the same episode, bit for bit; `numpy.load` reads the file, too.

    Raises:
      OSError: the file cannot be written; an existing one stays as it was.
    """
    arrays = {**episode.arrays, "metadata": np.array(json.dumps(episode.metadata))}
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(name + _END), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path: Path | str, observations: Collection[str] | None = None) -> tuple[Episode, bool]:
    """Reads an episode that anybody wrote, as `Episode` has it.

    Numbers other than `image` become float32: floats are rounded, integers must fit. `terminated`
    may be of 0 and 1, or missing, which says False everywhere. `metadata`, a JSON object as text,
    may be missing, too.

    Args:
      path: the file.
      observations: names of the arrays that are observations, others are left out; None: every
        array but `action`, `reward` and `terminated`.

    Returns:
      The episode, and whether `terminated` was there.

    Raises:
      NpzError: the file is no archive of arrays, or these are no episode; the message names the
        file, the array, what was expected and what came.
      OSError: the file cannot be opened.
    """
    path = Path(path)
    with framed.refused_as(NpzError, path):
        arrays = _read_arrays(path)
        metadata = _metadata(arrays.pop("metadata", np.array("{}")))
        arrays = _chosen(arrays, observations)
        _check_alignment(arrays)
        told = "terminated" in arrays
        arrays.setdefault("terminated", np.zeros(arrays["reward"].shape, np.bool_))
        try:
            return Episode.of_arrays({n: _cast(n, a) for n, a in arrays.items()}, metadata), told
        except TypeError as error:
            raise ValueError(str(error)) from error


def _read_arrays(path: Path) -> Arrays:
    arrays: Arrays = {}
    content = io.BytesIO(read_file(path))
    try:
        with framed.understood("npz file"), zipfile.ZipFile(content) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
                arrays[name.removesuffix(_END)] = array
    except _BROKEN as error:
        raise ValueError(f"expected an npz file of arrays, got {error!r}") from error
    return arrays


def _metadata(text: npt.NDArray[Any]) -> dict[str, Any]:
    try:
        metadata = json.loads(str(text)) if text.dtype.kind == "U" and not text.ndim else None
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        got = f"{text.dtype} {list(text.shape)}"
        raise ValueError(f"metadata: expected a JSON object as text, got {got}")
    return metadata


def _chosen(arrays: Arrays, observations: Collection[str] | None) -> Arrays:
    if observations is None:
        return arrays
    if missing := sorted({*observations} - arrays.keys()):
        raise ValueError(f"{missing[0]}: expected an array of this name, got {[*arrays]}")
    return {name: array for name, array in arrays.items() if name in {*OWN, *observations}}


def _check_alignment(arrays: Arrays) -> None:
    """Says how actions and rewards are shifted that do not begin with the reset frame's."""
    entries = max((len(a) for n, a in arrays.items() if n not in OWN and a.ndim), default=0)
    for name in ("action", "reward"):
        array = arrays.get(name)
        if array is None or not array.ndim:
            raise ValueError(f"{name}: expected an array of several entries, got none")
        if len(array) == entries - 1:
            expected = f"as many entries as observations, {entries}"
            raise ValueError(f"{name}: expected {expected}, got {len(array)}; {_SHIFT.format('')}")
        if len(array) and np.any(array[0] != 0):
            got = f"zeros at index 0 (reset frame), got {array[0].tolist()}"
            raise ValueError(f"{name}: expected {got}; {_SHIFT.format('[:-1]')}")


def _cast(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Brings what says the same into the type that an episode has; leaves the rest to it."""
    kind = array.dtype.kind
    if name == "image" or kind not in "fiu":
        return array
    if name == "terminated":
        return array.astype(np.bool_) if np.isin(array, (0, 1)).all() else array
    with np.errstate(over="ignore"):
        cast = array.astype(np.float32)
    if kind != "f" and not np.array_equal(cast.astype(np.float64), array.astype(np.float64)):
        raise ValueError(f"{name}: expected integers that float32 holds, got larger ones")
    return cast
