"""Makes the folder that a bare GPU machine needs beside the checkout; runs without a GPU.

    python benchmarks/gpu/bundle     # minutes of compiling; then carry gpu_bundle/
    python benchmarks/gpu/bundle --python 3.13 --architectures 100f-real

The machine: x86-64 Linux, a Python with torch >= 2.11, pytest, hypothesis and the usual scientific
packages, and no network. The folder holds planet built three ways (plain, with jitter.cuh, with
bounded waits), the program first_run, wheels of the packages that are missing there, OpenGL's
vendor-neutral libraries, and manifest.json. `first.sh` and `second.sh` beside this use it; after a
change of C++ or CUDA sources make it again (Python files are taken from the checkout).

Needs nvcc, torch and a package index. --work keeps objects, so that the next bundle compiles only
what changed.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from gpu.bundle import builds, libraries, manifest, packages

ROOT = Path(__file__).parents[3]


def first_line(*command: str) -> str:
    """Returns the first line of a program's output; "unknown" where there is none."""
    try:
        text = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
    except OSError:
        return "unknown"
    return next((line.strip() for line in text.splitlines() if line.strip()), "unknown")


def commit() -> str:
    """Names the checkout's commit; ends in + where files differ from it."""
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no") != "unknown"
    return first_line("git", "rev-parse", "--short", "HEAD") + "+" * changed


def checkout_bytes() -> int:
    """Sums the sizes of the tracked files, which travel as well."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT
    ).stdout.split("\0")
    return sum((ROOT / name).stat().st_size for name in names if name and (ROOT / name).is_file())


def main() -> int:
    """Runs the command line; exit status 1 for a bundle that is too large, which is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "gpu_bundle")
    parser.add_argument("--python", default="3.12", help="version of the GPU machine's Python")
    parser.add_argument("--architectures", default="90a-real", help="as PLANET_CUDA_ARCHS")
    parser.add_argument("--work", type=Path, help="folder for objects; else a temporary one")
    options = parser.parse_args()
    if options.folder.exists() and not (options.folder / manifest.NAME).exists():
        parser.error(f"folder: expected a new one or a bundle, got {options.folder}")
    with tempfile.TemporaryDirectory(prefix="gpu_bundle") as temporary:
        new = Path(temporary) / "bundle"
        versions = packages.download(new / "wheels", options.python)
        libraries.copy(new / "gl")
        work = (options.work or Path(temporary) / "work").resolve()
        work.mkdir(parents=True, exist_ok=True)
        builds.build_all(new, work, ROOT, options.architectures, options.python)
        facts = {
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "commit": commit(),
            "python": options.python,
            "architectures": options.architectures,
            "nvcc": first_line("sh", "-c", "nvcc --version | grep release"),
            "libc": " ".join(platform.libc_ver()),
            "packages": versions,
            "left_out": packages.LEFT_OUT,
        }
        try:
            made = manifest.write(new, ROOT, facts)
        except manifest.Oversize as error:
            print(f"bundle: {error}", file=sys.stderr)
            return 1
        if options.folder.exists():
            shutil.rmtree(options.folder)
        shutil.copytree(new, options.folder)
    print(manifest.table(made))
    print(f"{checkout_bytes() / 1e6:7.2f}  the checkout's files")
    print(f"{options.folder}: planet of {made['commit']} for Python {options.python}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
