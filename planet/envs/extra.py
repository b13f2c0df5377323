"""Imports what the `train` extra brings."""

from __future__ import annotations

import importlib
from typing import Any

from planet import advice


def import_extra(module: str) -> Any:
    """Imports a module that needs the extra.

    Raises:
      ImportError: a package of the extra is missing; the message gives the command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "planet":
            raise
        raise ImportError(
            f"environments need {package}; install it with: {advice.install_extra()}"
        ) from error
