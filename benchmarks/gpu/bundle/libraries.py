"""Collects the vendor-neutral OpenGL libraries; the driver brings its own part."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
from pathlib import Path

LIBRARIES = ("libEGL.so.1", "libOpenGL.so.0", "libGL.so.1", "libGLX.so.0", "libGLdispatch.so.0")
APT = "libegl1 libopengl0 libgl1 libglx0 libglvnd0"


def copy(folder: Path) -> None:
    """Copies this machine's libraries.

    Raises:
      FileNotFoundError: one is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listing = subprocess.run(
        [shutil.which("ldconfig") or "/sbin/ldconfig", "-p"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in LIBRARIES:
        lines = [line for line in listing.splitlines() if line.strip().startswith(f"{name} ")]
        found = [line.split(" => ")[1] for line in lines if "x86-64" in line]
        if not found:
            raise FileNotFoundError(f"{name} is not on this machine; apt-get install {APT}")
        shutil.copyfile(found[0], folder / name)


def link(bundle: Path, folder: Path) -> None:
    """Links a bundle's libraries under the names that loaders and linkers ask for."""
    folder.mkdir(parents=True, exist_ok=True)
    for library in sorted((bundle / "gl").glob("lib*.so.*")):
        (folder / library.name).symlink_to(library.resolve())
        (folder / library.name.split(".so")[0]).with_suffix(".so").symlink_to(library.resolve())


def are_there() -> bool:
    """Tells whether programs find libraries for EGL already."""
    return bool(ctypes.util.find_library("EGL") and ctypes.util.find_library("OpenGL"))


def vendor(folder: Path) -> Path | None:
    """Describes NVIDIA's EGL driver, if loaders do not find one by themselves.

    Args:
      folder: for a description that is written where the driver came without one.
    """
    name = "10_nvidia.json"
    usual = [Path(root) / "glvnd" / "egl_vendor.d" for root in ("/etc", "/usr/share")]
    if any(found for place in usual for found in place.glob("*nvidia*.json")):
        return None
    mounted = Path("/usr/local/nvidia/share/glvnd/egl_vendor.d") / name
    if mounted.is_file():
        return mounted
    try:
        ctypes.CDLL("libEGL_nvidia.so.0")
    except OSError:
        return None
    description = folder / name
    description.write_text(
        '{"file_format_version": "1.0.0", "ICD": {"library_path": "libEGL_nvidia.so.0"}}\n'
    )
    return description
