"""`planet replay`: brings episodes into files of numpy, and such files into episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from planet.cli.options import RunDirectory
from planet.cli.output import say
from planet.errors import advice
from planet.errors.listing import listed
from planet.replay import export_episodes, import_episodes

_SOURCE = tyro.conf.arg(metavar="DIRECTORY", help="folder of the npz files")
_TARGET = tyro.conf.arg(
    metavar="DIRECTORY", help="folder of the npz files, made if it is not there"
)
_FOLDER = tyro.conf.arg(metavar="FOLDER", help="folder of the episodes, made if it is not there")


@dataclass(frozen=True)
class ExportEpisodes:
    """Writes every episode of a run as one npz file, episode-000012.npz, exactly and reversibly.

    It has the arrays by their names, action, reward, terminated, and metadata as a JSON text.
    Nothing is replaced.
    """

    run_dir: RunDirectory
    directory: Annotated[Path, tyro.conf.Positional, _TARGET]


@dataclass(frozen=True)
class ImportEpisodes:
    """Makes a folder of episodes, for `planet fit --data FOLDER`, of npz files that anybody wrote.

    A file has action [N+1, A], reward [N+1], and observations by name: image uint8 [N+1, h, w, 3],
    any other one [N+1, V]. Index t holds the action that led to observation t; index 0 is the reset
    frame, with zeros. terminated [N+1] and metadata, a JSON object as text, may be missing. Floats
    become float32. Every file is checked before the first episode is written.
    """

    directory: Annotated[Path, tyro.conf.Positional, _SOURCE]
    folder: Annotated[Path, tyro.conf.Positional, _FOLDER]
    observations: tuple[str, ...] | None = None
    """names of the arrays that are observations, others are left out; None: all arrays"""


_Export = Annotated[ExportEpisodes, tyro.conf.subcommand("export", prefix_name=False)]
_Import = Annotated[ImportEpisodes, tyro.conf.subcommand("import", prefix_name=False)]


@dataclass(frozen=True)
class ReplayOptions:
    """Brings the episodes of a run into files of numpy, or such files into a folder of episodes."""

    command: tyro.conf.OmitSubcommandPrefixes[_Export | _Import]


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    program = f"{advice.program()} replay"
    command = tyro.cli(ReplayOptions, prog=program, args=arguments).command
    if isinstance(command, ExportEpisodes):
        made = export_episodes(command.run_dir, command.directory)
        return 0 if say(f"{len(made)} episodes written to {command.directory}") else 1
    done = import_episodes(command.directory, command.folder, command.observations)
    if missing := done.without_terminated:
        names = listed(path.name for path in missing)
        say(f"terminated is missing in {len(missing)} files and taken for False: {names}")
    return 0 if say(f"{len(done.files)} episodes written to {command.folder}") else 1
