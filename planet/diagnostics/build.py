"""Says what the installed planet was built with and what it runs on."""

from __future__ import annotations

import os
from typing import Any

import torch

from planet.ops import extension, fused
from planet.ops.instruction_sets import lacking
from planet.ops.kernels import SERVED

__version__ = "0.1.0"


def build_info() -> dict[str, Any]:
    """Collects facts for bug reports and `planet doctor`.

    Returns:
      extension: whether the compiled planner is there; if not, `reason` says why and `remedy` what
        helps.
      version, compiler, torch_headers, fingerprint: of the extension's build; the fingerprint is a
        hash of its sources.
      file: of the extension.
      isa, isas: instruction set in use, and all that this processor runs.
      isa_cap: value of the environment variable PLANET_CPU_ISA; None where it is not set.
      refused: why this machine does not run the other instruction sets, by name.
      kernels: instruction sets that have kernels for a precision, by precision.
      fp32, int8, bf16: instruction set of plans in that arithmetic on CPUs. One that is not
        available is None, and `int8_reason` or `bf16_reason` says why.
      cuda: compiled, toolkit, architectures (-real: machine code; -virtual: code that drivers
        translate for other GPUs), devices, status; where it was compiled, the choices of the
        imagination that are served.
      torch, threads: of the running torch; plans have its number of threads.
    """
    facts: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if fused._C is None:
        why = extension.missing()
        return {"extension": False, "reason": why.cause, "remedy": why.remedy, **facts}
    info: dict[str, Any] = {"extension": True, **fused._C.build_info()}
    info["file"] = str(extension.path())
    info["isa_cap"] = os.environ.get("PLANET_CPU_ISA") or None
    for precision in SERVED["cpu"]["precision"]:
        info[precision] = info["precisions"].get(precision)
        if info[precision] is None:
            info[f"{precision}_reason"] = lacking(precision, info)
    del info["precisions"]
    if info.get("cuda", {}).get("compiled"):
        info["cuda"] |= {"served": SERVED["cuda"]}
    return {**info, **facts}
