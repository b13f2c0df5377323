"""Runs the command line: `planet train | fit | evaluate | diagnose | profile | export | ...`.

A command's module is imported only when it is called, so that a missing package is reported as
such. Nothing but these modules prints.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import torch

from planet.cli.output import ClosedStream, complain, prepare_streams, say, settle_streams
from planet.diagnostics.build import __version__
from planet.diagnostics.packages import EXTRA, is_installed
from planet.envs import RenderingUnavailable
from planet.errors import advice
from planet.protocols import NonFiniteError
from planet.training.collect import EpisodeError
from planet.training.interrupt import Interrupted
from planet.training.lock import DirectoryInUseError

HELP = """\
planet: learn a latent world model from pixels, and act by planning in it.

usage: planet COMMAND [options]
       planet COMMAND --help   shows all options of a command

commands:
  train      train an agent into a run directory, or continue a run
  fit        train its world model from recorded episodes, without an environment
  evaluate   score a trained agent and film it, or score planning on the true simulator
  diagnose   say whether its model or its planner keeps an agent from scoring more
  profile    time the control steps of an agent, stage by stage
  export     write a run's agent into a file that C++ programs act from
  replay     bring episodes into files of numpy (export), or such files into episodes (import)
  doctor     say what is installed and what works, and how to fix the rest

examples:
  planet train --preset small --task cheetah-run --directory runs/cheetah
  planet train --preset paper --task walker-walk --directory runs/walker --train.device cuda
  planet evaluate runs/cheetah --episodes 10 --baselines
  planet evaluate runs/cheetah --planner icem --planner.keep 5
  planet evaluate --planner.scorer simulator --planner icem --task cheetah-run
  planet diagnose runs/cheetah --episodes 3
  planet profile runs/cheetah --compare reference,fused,int8,bf16
  planet profile --compare cem,icem,mppi,shooting --train.threads 2
  planet export runs/cheetah cheetah.weights
  planet replay export runs/cheetah arrays
  planet replay import arrays data
  planet fit --data data --directory runs/fitted --preset small
  planet doctor

Any setting is an option, for example --planner.candidates 500 or --train.seed 1.
--planner cem, icem, mppi, shooting or gradient starts from the defaults of that planner.
Ctrl-C saves a checkpoint; the same command continues. PLANET_TRACEBACK=1 shows tracebacks."""

_EXPLAINED = (
    ImportError, OSError, TypeError, ValueError, RecursionError, DirectoryInUseError,
    EpisodeError, NonFiniteError, RenderingUnavailable,
)  # fmt: skip
"""Errors whose message says all: of the user's input, files and machine."""
_NO_MEMORY = ("can't allocate memory", "size calculation overflowed")  # RuntimeErrors of torch

COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("tyro", "gymnasium", "tqdm"),
    "fit": ("tyro", "tqdm"),
    "evaluate": ("tyro", "gymnasium", "tqdm", "matplotlib", "imageio", "imageio_ffmpeg"),
    "diagnose": ("tyro", "gymnasium", "tqdm"),
    "profile": ("tyro",),
    "export": ("tyro", "gymnasium"),
    "replay": ("tyro",),
    "doctor": (),
}
"""Packages of the `train` extra that a command needs whatever the task."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: without the program's name; None takes those of the process.

    Returns:
      Exit status: 0 success, 1 a failure that was explained, 2 wrong usage, 130 SIGINT (Ctrl-C),
      143 SIGTERM, 129 SIGHUP. Output that cannot be written changes it only for commands that do
      nothing else.
    """
    prepare_streams()
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        return _run(name, rest)
    finally:
        settle_streams()


def _run(name: str, rest: Sequence[str]) -> int:
    if name in ("-h", "--help", "help"):
        return 0 if say(advice.with_program(HELP)) else 1
    if name in ("-V", "--version"):
        return 0 if say(f"planet {__version__}") else 1
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        complain(f"planet: expected a command ({known}), got {name!r}")
        return 2
    try:
        _require(*COMMANDS[name])
        command = importlib.import_module(f"planet.cli.{name}")
        return int(command.run(rest))
    except SystemExit as exit_request:  # how tyro ends after --help and after a wrong option
        status = exit_request.code if isinstance(exit_request.code, int) else 1
        shown = settle_streams() and not isinstance(sys.stdout, ClosedStream)
        return status or (0 if shown else 1)
    except Interrupted as interrupt:
        return interrupt.exit_status
    except KeyboardInterrupt:
        return 130
    except (MemoryError, torch.OutOfMemoryError) as error:
        return _explain(name, f"out of memory: {error}; smaller sizes need less", error)
    except _EXPLAINED as error:
        return _explain(name, str(error), error)
    except RuntimeError as error:
        if not any(text in str(error) for text in _NO_MEMORY):
            raise
        return _explain(name, f"out of memory: {error}; smaller sizes need less", error)


def _explain(name: str, text: str, error: BaseException) -> int:
    if os.environ.get("PLANET_TRACEBACK"):
        raise error
    complain(f"planet {name}: {text}")
    return 1


def _require(*modules: str) -> None:
    """Imports the packages that a command needs.

    Raises:
      ImportError: naming those that are missing or broken, and the command that brings them.
    """
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        raise ImportError(f"needs {', '.join(missing)}; install it with: {advice.install_extra()}")
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # versions that do not fit one another raise anything
            raise ImportError(
                f"needs {module}, which cannot be imported ({type(error).__name__}: {error}); "
                f"repair it with: {advice.repair(EXTRA[module])}"
            ) from error
