"""Says which instruction set of a CPU computes a precision, or why none does."""

from __future__ import annotations

import os
from typing import Any


def lacking(precision: str, info: dict[str, Any]) -> str:
    """Says what the instruction set in use lacks for a precision.

    Args:
      precision: one that `info["precisions"]` does not name.
      info: the extension's build_info.
    """
    needed = info["kernels"][precision]
    if not needed:
        return f"has no kernels for this architecture, got {info['isa']!r}"
    refused = {name: info["refused"][name] for name in needed if name in info["refused"]}
    reasons = [f"{', '.join(names)}: {reason}" for reason, *names in grouped(refused)]
    cap = os.environ.get("PLANET_CPU_ISA")
    for name in needed:
        if name not in refused:
            now = f", which is {cap}" if cap else ""
            reasons.append(f"{name}: this processor runs it, choose it by PLANET_CPU_ISA{now}")
    sets = " or ".join(map(repr, needed))
    return f"needs the instruction set {sets}, got {info['isa']!r} ({'; '.join(reasons)})"


def grouped(refused: dict[str, str]) -> list[list[str]]:
    """Lists every reason with the sets that it refuses: [reason, name, ...]."""
    groups: dict[str, list[str]] = {}
    for name, reason in refused.items():
        groups.setdefault(reason, [reason]).append(name)
    return list(groups.values())
