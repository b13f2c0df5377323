"""Imports what the `train` extra brings."""

from __future__ import annotations

import importlib
from typing import Any

from planet.envs._library import is_from_library
from planet.errors import advice


def import_extra(module: str) -> Any:
    """Imports a module that needs the extra.

    Raises:
      ImportError: a package of the extra is missing, or cannot be imported, whatever that raises;
        the message says which.
      Exception: what the packages that draw raise; `_library.explained` knows the causes.
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
    except ImportError:
        raise
    except Exception as error:  # versions that do not fit one another raise anything
        if is_from_library(error):
            raise
        raise ImportError(
            f"{module} cannot be imported ({type(error).__name__}: {error}); "
            f"`{advice.program()} doctor` says which package is broken"
        ) from error
