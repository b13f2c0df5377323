"""Unpacks a bundle on the GPU machine, and writes what a shell has to export to use it.

    python benchmarks/gpu/bundle/unpack.py BUNDLE FOLDER

FOLDER gets site/ (packages and planet), jitter/ and checked/ (other builds of planet alone), gl/,
and the file `environment`. planet's Python files are those of the checkout. What cannot be used is
printed, one line each, and left out. Needs the standard library alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from gpu.bundle import libraries, manifest

ROOT = Path(__file__).parents[3]
SITES = {"wheels": "site", "jitter": "jitter", "checked": "checked"}
EXPORTS = {"jitter": "PLANET_JITTER_SITE", "checked": "PLANET_CHECKED_SITE"}


def unpack(bundle: Path, work: Path, problems: dict[str, str]) -> dict[str, str]:
    """Unpacks what has no problem.

    Returns:
      variables to export.
    """
    site = work / "site"
    variables = {"PYTHONPATH": _before(site, "PYTHONPATH"), "MUJOCO_GL": "egl"}
    chosen = {
        wheel: work / SITES[wheel.parent.name]
        for wheel in sorted(bundle.glob("*/*.whl"))
        if wheel.relative_to(bundle).as_posix() not in problems
        and not ("planet" in problems and wheel.name.startswith("planet_rl-"))
    }
    site.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(_extract, chosen, chosen.values()))
    for name in SITES.values():
        if (work / name / "planet").is_dir():
            changed = _take_python_files(work / name)
            variables["PLANET_COMMIT"] = manifest.commit(bundle) + "+" * changed
            if name in EXPORTS:
                variables[EXPORTS[name]] = str(work / name)
    program = bundle / "first_run"
    if program.is_file() and program.name not in problems:
        copy = work / program.name
        shutil.copyfile(program, copy)
        copy.chmod(0o755)
        variables["PLANET_FIRST_RUN"] = str(copy)
    return variables | _graphics(bundle, work)


def _extract(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)


def _take_python_files(site: Path) -> bool:
    """Replaces planet's Python files by the checkout's; returns whether they differ."""
    old = {path.relative_to(site): path.read_bytes() for path in (site / "planet").rglob("*.py")}
    new = {path.relative_to(ROOT): path.read_bytes() for path in (ROOT / "planet").rglob("*.py")}
    for name in old.keys() - new.keys():
        (site / name).unlink()
    for name, content in new.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    return old != new


def _graphics(bundle: Path, work: Path) -> dict[str, str]:
    """Lets programs find OpenGL: the bundle's libraries where there are none, and the driver."""
    variables = {}
    if not libraries.are_there():
        libraries.link(bundle, work / "gl")
        for name in ("LD_LIBRARY_PATH", "LIBRARY_PATH"):  # of the loader, of the linker
            variables[name] = _before(work / "gl", name)
    described = libraries.vendor(work)
    if described and "__EGL_VENDOR_LIBRARY_FILENAMES" not in os.environ:
        variables["__EGL_VENDOR_LIBRARY_FILENAMES"] = str(described)
    return variables


def _before(folder: Path, name: str) -> str:
    """Puts a folder before what a path variable has."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(name)]))


def main() -> int:
    """Command line; exit status 1 where something of the bundle cannot be used."""
    began = time.monotonic()
    bundle, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    problems = manifest.problems(bundle, ROOT, sys.version_info[:2])
    for name, problem in problems.items():
        print(f"bundle          PROBLEM: {name} {problem}")
    variables = unpack(bundle, work, problems)
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    (work / "environment").write_text("".join(lines))
    print(f"bundle          unpacked in {time.monotonic() - began:.1f} s")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
