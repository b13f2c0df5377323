"""Checks what a build needs of the system, before CMake says it in a page of its own words."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

_COMPILERS = ("c++", "CC", "g++", "clang++")  # the order in which CMake looks
_PROGRAM = """
#include <concepts>
#include <optional>
#include <span>
#include <string>
template <std::integral T> T twice(T x) { return 2 * x; }
int main(int count, char**) {
  std::string text = "x";
  return std::span<char>(text.data(), text.size()).size() != 1 || twice(count) < 0;
}
"""


def check_system() -> None:
    """Looks for a C++20 compiler and Python's headers.

    Raises:
      RuntimeError: one is missing or does not work; the message says how to get it.
    """
    _check_compiler()
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise RuntimeError(
            f"the headers of Python {version} are missing, {headers / 'Python.h'}; "
            + (
                f"on Debian and Ubuntu: sudo apt-get install python{version}-dev"
                if str(headers).startswith("/usr/include")
                else "install them, or build with a Python that has them"
            )
        )


def _words(variable: str) -> list[str]:
    """Splits an environment variable as a shell does."""
    value = os.environ.get(variable, "")
    try:
        return shlex.split(value)
    except ValueError as error:
        raise RuntimeError(f"{variable}: expected shell words, got '{value}': {error}") from error


def _check_compiler() -> None:
    wished = os.environ.get("CXX", "")
    names = _words("CXX") or next(([n] for n in _COMPILERS if shutil.which(n)), [])
    if not names:
        raise RuntimeError(
            "a C++ compiler is missing; on Debian and Ubuntu: sudo apt-get install g++"
        )
    if shutil.which(names[0]) is None:
        what = "is no program" if os.path.exists(names[0]) else "is not there"
        raise RuntimeError(f"CXX: expected a C++ compiler, got '{wished}', which {what}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "twenty.cpp"
        source.write_text(_PROGRAM)
        flags = [*_words("CXXFLAGS"), "-std=c++20"]
        try:
            done = subprocess.run(
                [*names, *flags, str(source), "-o", str(source.with_suffix(""))],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        except OSError as error:  # a file that is no program, or one of another machine
            raise RuntimeError(f"the C++ compiler {names[0]} does not run: {error}") from error
    if done.returncode == 0:
        return
    lines = done.stdout.decode(errors="replace").splitlines()
    error = next((line for line in lines if "error" in line), lines[0] if lines else "no message")
    raise RuntimeError(
        f"{shlex.join(names)} does not compile C++20 ({error.strip().replace(folder + '/', '')}); "
        "GCC 12 and clang 14 do. On Debian and Ubuntu: sudo apt-get install g++, or name another "
        "with CXX"
    )
