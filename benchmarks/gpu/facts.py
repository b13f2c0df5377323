"""Says what a GPU's figures depend on: card, clocks, driver, versions, build, commit.

    python benchmarks/gpu/facts.py --output facts.json

Nothing runs on the GPU but torch's first allocation. The exit status is 3, with torch's own words,
where torch or planet cannot use one; so the stages that need one do not try.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances, short_name
from gpu.runner import write_json

NO_GPU = 3  # exit status
PACKAGES = ("numpy", "pytest", "pytest-xdist", "pytest-timeout", "hypothesis", "gymnasium",
            "dm_control", "mujoco", "PyOpenGL", "tyro", "triton")  # fmt: skip


def obstacle(device: str) -> str | None:
    """Why planet's kernels cannot run on a device, in torch's words or the extension's."""
    from planet import build_info

    info = build_info()
    if not info["extension"]:
        return f"the compiled core is not built: {info['reason']}"
    if torch.device(device).type == "cpu":
        return None
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    cuda = info["cuda"]
    if not cuda["compiled"]:
        return "the compiled core was built without CUDA"
    return None if cuda["status"] == "ok" else str(cuda["status"])


def tool_version(*command: str) -> str | None:
    """The line of a tool's answer that holds a version; None where there is no tool or answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    named = [line for line in lines if "ersion" in line or "release" in line]
    return next(iter([*named, *lines]), None)


def collect(device: str) -> dict[str, Any]:
    """All facts; `obstacle` is None where the device can be used."""
    found: dict[str, Any] = {**circumstances(), "obstacle": obstacle(device)}
    found["system"] = {"kernel": platform.release(), "cores": os.cpu_count(),
                       "executable": sys.executable}  # fmt: skip
    found["tools"] = {
        "nvcc": tool_version("nvcc", "--version"),
        "compute-sanitizer": tool_version("compute-sanitizer", "--version"),
        "c++": tool_version("c++", "--version"),
    }
    installed = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    found["packages"] = {name: installed.get(name) for name in PACKAGES}
    if torch.device(device).type == "cuda" and found["obstacle"] is None:
        properties = torch.cuda.get_device_properties(device)
        found["multiprocessors"] = properties.multi_processor_count
        found["keep_as"] = short_name(torch.cuda.get_device_name(device))
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="changes nothing")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}", flush=True)
    found = collect(options.device)
    if options.output:
        write_json(options.output, found)
    for name in ("commit", "tools", "packages", "card"):
        print(f"{name}: {found.get(name)}")
    cuda = found["machine"]["build"].get("cuda")
    print(f"planet {found['machine']['build'].get('file')}, {cuda}")
    if found["obstacle"]:
        print(f"no GPU: {found['obstacle']}")
        return NO_GPU
    if torch.device(options.device).type == "cpu":
        print("stand-in: this processor, no GPU")
        return 0
    card = found.get("card", {})
    print(f"{card.get('name', options.device)}, driver {card.get('driver_version')}, "
          f"{card.get('clocks.sm')} of {card.get('clocks.max.sm')}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
