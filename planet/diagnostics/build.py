"""Says what the installed planet was built with and what it runs on."""

from __future__ import annotations

import os
from typing import Any

import torch

from planet.ops import extension, fused
from planet.ops.kernels import SERVED

__version__ = "0.1.0"

_INT8 = "avx512vnni"  # the only set with kernels for int8; those for fp32 are avx512's


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
      fp32, int8: instruction set of plans in that arithmetic. int8 is None where it is not
        available, and `int8_reason` says why.
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
    info["fp32"] = info["precisions"]["fp32"]
    info["int8"] = info["precisions"].get("int8")
    if info["int8"] is None:
        info["int8_reason"] = _why_no_int8(info)
    if info.get("cuda", {}).get("compiled"):
        info["cuda"] |= {"served": SERVED["cuda"]}
    return {**info, **facts}


def _why_no_int8(info: dict[str, Any]) -> str:
    if _INT8 not in info["isas"]:
        return f"needs instruction set {_INT8}, this processor runs {', '.join(info['isas'])}"
    cap = info["isa_cap"]
    chosen = f"PLANET_CPU_ISA={cap}" if cap else f"{info['isa']} was set"
    return f"needs instruction set {_INT8}, which this processor runs, but {chosen}"
