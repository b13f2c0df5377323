"""Collects the Python packages that the bare GPU machine lacks, as wheels."""

from __future__ import annotations

import fnmatch
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGES = (
    "mujoco==3.17.0", "dm_control==1.0.50", "dm-env", "dm-tree", "gymnasium",
    "farama-notifications", "tyro", "typeguard", "docstring-parser", "PyOpenGL", "glfw",
    "imageio-ffmpeg", "pyperf", "psutil",
)  # fmt: skip
"""What planet and its tests import beyond torch, numpy, scipy, lxml, tqdm, tensorboard, matplotlib,
imageio, pytest and hypothesis, which are there. Mujoco's 4.0 only points to other packages."""

LEFT_OUT = {
    "dm_control": (  # all but the suite and what that imports; no task of the dog
        "dm_control/autowrap/*", "dm_control/blender/*", "dm_control/composer/*",
        "dm_control/entities/*", "dm_control/locomotion/*", "dm_control/manipulation/*",
        "dm_control/mjcf/*", "dm_control/mujoco/testing/*", "dm_control/suite/all_domains.png",
        "dm_control/suite/demos/*", "dm_control/suite/dog_assets/*", "dm_control/third_party/*",
        "dm_control/viewer/*", "dm_control/*_test.py",
    ),
    "imageio_ffmpeg": ("imageio_ffmpeg/binaries/ffmpeg*",),  # nobody films there
}  # fmt: skip
"""Patterns of files that their wheels are carried without; licenses stay."""

PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (35, 34, 31, 28, 27, 24, 17, 12, 5)]


def download(folder: Path, python: str) -> dict[str, str]:
    """Fetches the wheels for a version of Python into a folder, and trims them.

    Returns:
      versions by package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = [word for name in PLATFORMS for word in ("--platform", name)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
         "--disable-pip-version-check", "--implementation", "cp", "--python-version", python,
         *where, "-d", str(folder), *PACKAGES],
        check=True,
    )  # fmt: skip
    versions = {}
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        versions[name] = version
        if patterns := LEFT_OUT.get(name):
            trim(wheel, patterns)
    return versions


def trim(wheel: Path, patterns: tuple[str, ...]) -> None:
    """Leaves files out of a wheel, and out of its record."""
    small = wheel.with_suffix(".small")
    with (
        zipfile.ZipFile(wheel) as whole,
        zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as kept,
    ):
        for entry in whole.infolist():
            if _matches(entry.filename, patterns):
                continue
            content = whole.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(
                    line for line in lines if not _matches(line.split(",")[0], patterns)
                ).encode()
            kept.writestr(entry, content, zipfile.ZIP_DEFLATED)
    small.replace(wheel)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
