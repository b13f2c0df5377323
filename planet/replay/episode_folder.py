"""Names the files of episodes, and finds the folder that they are in."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"episode-(\d{6,})\.planet")


def episode_name(index: int) -> str:
    """Returns the file name of episode `index`, e.g. `episode-000012.planet`."""
    return f"episode-{index:06d}.planet"


def episode_index(name: str) -> int | None:
    """Returns 12 for `episode-000012.planet`, None for what `episode_name` never returns."""
    match = _NAME.fullmatch(name)
    index = int(match[1]) if match else -1
    return index if episode_name(index) == name else None


def episode_paths(directory: Path | str) -> list[Path]:
    """Finds the episodes of a run, or those of a folder of them, in order of their index.

    Args:
      directory: of a run, whose episodes are in `episodes/`, or of episode files.

    Raises:
      FileNotFoundError: there are none.
    """
    directory = Path(directory)
    inside = directory / "episodes"
    folder = inside if inside.is_dir() else directory
    found = os.listdir(folder) if folder.is_dir() else []
    paths = {index: folder / name for name in found if (index := episode_index(name)) is not None}
    if not paths:
        raise FileNotFoundError(
            f"{directory} holds no episodes: expected files {episode_name(0)} there or in episodes/"
        )
    return [paths[index] for index in sorted(paths)]
