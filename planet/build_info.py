"""What the installed planet was built with and what it runs on."""

from __future__ import annotations

from typing import Any

import torch

from planet.ops import fused


def build_info() -> dict[str, Any]:
    """Facts for bug reports and `planet doctor`.

    Returns:
      extension: whether the compiled planner is there; if not, `reason` says why.
      version, compiler, torch_headers: of the extension's build.
      isa, isas: instruction set in use, and all that this processor runs.
      cuda: compiled, toolkit, architectures, devices, status.
      torch, threads: of the running torch.
    """
    facts: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if fused._C is None:
        return {"extension": False, "reason": str(fused._IMPORT_ERROR), **facts}
    return {"extension": True, **fused._C.build_info(), **facts}


def extension_path() -> str:
    """File of the compiled extension.

    Raises:
      ImportError: there is none.
    """
    fused._require_extension()
    return str(fused._C.__file__)
