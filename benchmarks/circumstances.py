"""Says when, how and on what something was measured, and where its figures go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from planet import build_info
from planet.diagnostics.machine import machine_facts

RESULTS = Path(__file__).parent / "results"
_CARD = (
    "name", "driver_version", "memory.total", "clocks.max.sm", "clocks.max.mem", "power.limit",
    "compute_cap",
)  # fmt: skip
_STATE = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "utilization.gpu")


def circumstances() -> dict[str, Any]:
    """Returns date, command, commit, machine, build, and the card where there is one.

    Nothing in it says where on the machine files lie.
    """
    build = {name: fact for name, fact in build_info().items() if name != "file"}
    facts = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join(map(_without_place, sys.argv)),
        "commit": commit(),
        "machine": {**machine_facts(), "build": build, "load_before": os.getloadavg()},
    }
    if torch.cuda.is_available():
        facts["card"] = {**(_ask(_CARD) or {}), "cuda": torch.version.cuda, **(gpu_state() or {})}
    return facts


def _without_place(word: str) -> str:
    """Names a file from the project's folder, one that lies elsewhere by its name alone."""
    path = Path(word)
    if not path.is_absolute():
        return word
    project = RESULTS.parents[1]
    return str(path.relative_to(project)) if path.is_relative_to(project) else path.name


def commit() -> str | None:
    """The commit of these sources: PLANET_COMMIT where they travel without their history."""
    if given := os.environ.get("PLANET_COMMIT"):
        return given
    asked = ["git", "-C", str(RESULTS.parent), "log", "-1", "--format=%h"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def gpu_state() -> dict[str, str] | None:
    """Clocks, temperature, power and load of the first GPU as nvidia-smi reads them."""
    return _ask(_STATE)


def result_path(what: str, device: torch.device | str) -> Path:
    """The file of a measurement in benchmarks/results; on a GPU its name holds the card's."""
    if torch.device(device).type == "cpu":
        return RESULTS / f"{what}.json"
    return RESULTS / f"{what}_{short_name(torch.cuda.get_device_name())}.json"


def short_name(card: str) -> str:
    """The card's name as file names have it, such as `h100_80gb_hbm3`."""
    words = re.findall(r"[a-z0-9]+", card.lower())
    return "_".join(word for word in words if word != "nvidia")


def _ask(names: tuple[str, ...]) -> dict[str, str] | None:
    query = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader", "-i", "0"]
    try:
        out = subprocess.run(query, capture_output=True, text=True, timeout=8, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(zip(names, (value.strip() for value in out.split(",")), strict=False))
