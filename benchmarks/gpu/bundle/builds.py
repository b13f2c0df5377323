"""Builds planet for the bundle: plain, with warps that sleep at random, with bounded waits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from gpu import first_run_program
from gpu.bundle import manifest

JITTER = Path(first_run_program.__file__).with_name("jitter.cuh")
BUILDS = {
    "wheels": "",
    "jitter": f'-include "{JITTER}"',
    "checked": "-DPLANET_BOUNDED_WAITS",
}
"""nvcc's flags by the folder that the wheel goes to."""


def build_all(bundle: Path, work: Path, root: Path, architectures: str, python: str) -> None:
    """Builds the wheels one after another in one build folder: they share what is not CUDA.

    Args:
      bundle: gets a wheel in each of the folders of `BUILDS`, and the program `first_run`.
      work: a folder for objects, kept if the caller keeps it.
      root: of the checkout.
      architectures: as PLANET_CUDA_ARCHS.
      python: version of the GPU machine's Python.

    Raises:
      SystemExit: a build fails, does not serve that Python or is not what its flags say.
    """
    plain = b""
    for folder, flags in BUILDS.items():
        wheel = build(bundle / folder, work, root, architectures, flags)
        if not manifest.serves(wheel.name, (3, int(python.split(".")[1]))):
            raise SystemExit(f"bundle: {wheel.name} does not serve Python {python}")
        code = extension(wheel)
        if code == plain:
            raise SystemExit(f"bundle: the {folder} build is the plain one: {flags} does nothing")
        plain = plain or code
    numbers = re.findall(r"(?:9\d|1\d\d)[af]?", architectures)  # clusters begin with 90
    program = first_run_program.build(work, numbers[0] if numbers else "90a")
    shutil.copy2(program, bundle / "first_run")


def build(out: Path, work: Path, root: Path, architectures: str, flags: str) -> Path:
    """Builds one wheel into an empty folder."""
    out.mkdir(parents=True, exist_ok=True)
    before = set(out.iterdir())
    settings = [f"build-dir={work / 'cmake'}", f"cmake.define.CMAKE_CUDA_FLAGS={flags}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps",
         "--disable-pip-version-check", "-w", str(out),
         *(word for setting in settings for word in ("--config-settings", setting)), str(root)],
        env=os.environ | {"PLANET_CUDA": "ON", "PLANET_CUDA_ARCHS": architectures},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"bundle: the build for {out.name} failed")
    return next(iter(set(out.iterdir()) - before))


def extension(wheel: Path) -> bytes:
    """Reads the compiled extension inside a wheel of planet."""
    with zipfile.ZipFile(wheel) as opened:
        name = next(n for n in opened.namelist() if n.startswith("planet/_C.") and ".so" in n)
        return opened.read(name)
