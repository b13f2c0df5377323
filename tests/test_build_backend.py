"""The in-tree build backend: which torch a build uses, and what it says where it cannot build."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from processes import python, run

BACKEND = Path(__file__).resolve().parents[1] / "_build_backend"
pytestmark = pytest.mark.skipif(not BACKEND.is_dir(), reason="no source tree")

BASE = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
"""An interpreter that can import no torch, unless one was installed beside it."""

INCLUDE = f"lib/python3.{sys.version_info.minor}/site-packages/torch/include"

SHELL = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
"""Stands between this process, whose environment has a torch, and what it starts."""


def make_torch(site: Path, version: str = "2.13") -> Path:
    """Puts headers of a torch into a folder of packages; returns its include folder."""
    include = site / "torch" / "include"
    (include / "torch" / "csrc" / "stable").mkdir(parents=True)
    (include / "torch" / "csrc" / "stable" / "library.h").touch()
    (include / "torch" / "headeronly").mkdir()
    major, minor = version.split(".")
    (include / "torch" / "headeronly" / "version.h").write_text(
        f"#define TORCH_VERSION_MAJOR {major}\n#define TORCH_VERSION_MINOR {minor}\n"
    )
    (site / "torch" / "__init__.py").touch()
    return include


def make_venv(folder: Path, version: str | None = "2.13") -> Path:
    """A virtual environment with that torch; returns its interpreter."""
    run(BASE, "-m", "venv", "--without-pip", folder)
    if version:
        make_torch((folder / INCLUDE).parents[1], version)
    return folder / "bin" / "python"


def find(*prefix: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Starts `torch_headers.py` by `prefix`; its answer: the folder, "" or the error."""
    command = [*SHELL, *prefix, BASE, BACKEND / "torch_headers.py"]
    done = run(*command, status=None, cwd=cwd, env={"PATH": "/usr/bin:/bin", **environment})
    return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module", autouse=True)
def _base_without_torch() -> None:
    if not Path(BASE).exists() or find():
        pytest.skip("needs a base interpreter without torch")


RUN = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[sys.argv.index('--') + 1:]))"
"""Stands for an installer that runs in Python: starts what follows `--`."""


def test_the_torch_beside_the_installer_is_found(tmp_path: Path) -> None:
    """pip, `python -m build` and pipx are Python programs of the environment that has torch."""
    python = make_venv(tmp_path / "größer als")
    found = find(python, "-c", RUN, "--")
    assert found == f"{python.parents[1]}/{INCLUDE}"
    # Two of them, as where pipx starts pip; what is no installer ends the search.
    bare = make_venv(tmp_path / "bare", None)
    assert find(python, "-c", RUN, "--", bare, "-c", RUN, "--") == found
    assert find(python, "-c", RUN, "--", *SHELL) == ""
    # Relative, as typed.
    assert find("bin/python", "-c", RUN, "--", cwd=python.parents[1]) == found


def test_the_installers_options_and_variables_are_followed(tmp_path: Path) -> None:
    """Whatever Python sees through PYTHONPATH, `.pth` files or `--user` is seen by asking it."""
    python = make_venv(tmp_path / "with torch")
    bare = make_venv(tmp_path / "bare", None)
    beside = make_torch(tmp_path / "beside")
    for option in ("--python", str(python)), (f"--python={python}",), ("-p", python.parents[1]):
        assert find(bare, "-c", RUN, *option, "--") == f"{tmp_path}/with torch/{INCLUDE}"
    for option in (["--target", str(beside.parents[1])], [f"--target={beside.parents[1]}"]):
        assert find(bare, "-c", RUN, *option, "--") == str(beside)
    assert find(bare, "-c", RUN, "--", PYTHONPATH=str(beside.parents[1])) == str(beside)


def make_uv(folder: Path) -> Path:
    """A program named uv that starts what follows `--`: the interpreter itself."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = folder / "uv.c"
    source.write_text("""
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int n, char** a) {
  int i = 1, status = 0;
  while (i < n && strcmp(a[i], "--")) ++i;
  if (fork() == 0) { execv(a[i + 1], a + i + 1); _exit(9); }
  wait(&status);
  return status != 0;
}
""")
    run(compiler, "-o", folder / "uv", source)
    return folder / "uv"


def test_uv_is_followed_to_its_environment(tmp_path: Path) -> None:
    """Active, named, found as `.venv` in the working folder or above it, or the system's."""
    uv = make_uv(tmp_path / "tools")
    python = make_venv(tmp_path / "project" / ".venv")
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    tail = f"project/.venv/{INCLUDE}"
    command = (uv, "pip", "install")
    assert find(*command, ".", "--", cwd=tmp_path) == ""
    assert find(*command, ".", "--", cwd=deep).endswith(tail)
    assert find(*command, ".", "--", cwd=tmp_path, VIRTUAL_ENV=str(python.parents[1])).endswith(
        tail
    )
    assert find(*command, ".", "--", cwd=tmp_path, CONDA_PREFIX="project/.venv").endswith(tail)
    assert find(*command, "--python", "project/.venv", ".", "--", cwd=tmp_path).endswith(tail)
    assert find(*command, ".", "--", cwd=tmp_path, UV_PYTHON=str(python)).endswith(tail)
    path = f"{python.parent}:/usr/bin:/bin"
    assert find(*command, ".", "--", cwd=tmp_path, PATH=path) == ""
    assert find(*command, "--system", ".", "--", cwd=tmp_path, PATH=path).endswith(tail)


def test_a_torch_that_is_too_old_is_refused_by_name(tmp_path: Path) -> None:
    old = make_venv(tmp_path / "old", "2.10")
    text = find(old, "-c", RUN, "--")
    assert text.startswith("planet: expected torch >= 2.11, got '")
    assert "which is torch 2.10; upgrade it first" in text
    assert "PLANET_TORCH_INCLUDE=" in text
    # A newer one elsewhere will do.
    new = make_torch(tmp_path / "new")
    assert find(old, "-c", RUN, "--", PLANET_TORCH_INCLUDE=str(new)) == str(new)
    assert find(old, "-c", RUN, "--target", tmp_path / "new", "--") == str(new)


def test_a_wrong_override_is_refused(tmp_path: Path) -> None:
    old = make_torch(tmp_path / "old", "2.5")
    for path, what in (
        (tmp_path / "nowhere", "which is not there"),
        (tmp_path, "which has none"),
        (old, "which is torch 2.5"),
    ):
        text = find(PLANET_TORCH_INCLUDE=str(path))
        assert text.startswith("planet: PLANET_TORCH_INCLUDE: expected the `include` folder of a")
        assert text.endswith(f"got '{path}', {what}")


def check_system(**environment: str) -> str:
    """Checks the system in a process with these variables alone; what is said."""
    code = "import system\ntry: system.check_system()\nexcept RuntimeError as error: print(error)"
    return run(BASE, "-c", code, env={"PYTHONPATH": str(BACKEND), **environment}).stdout.strip()


def test_a_missing_compiler_is_a_sentence(tmp_path: Path) -> None:
    assert check_system(PATH=str(tmp_path)) == (
        "a C++ compiler is missing; on Debian and Ubuntu: sudo apt-get install g++"
    )
    assert check_system(PATH=str(tmp_path), CXX="g++-99 -m64") == (
        "CXX: expected a C++ compiler, got 'g++-99 -m64', which is not there"
    )
    assert check_system(CXX=str(tmp_path)).endswith(f"got '{tmp_path}', which is no program")
    foreign = tmp_path / "g++"  # of another machine
    foreign.write_text("?")
    foreign.chmod(0o755)
    assert check_system(PATH=str(tmp_path)).startswith("the C++ compiler g++ does not run: ")
    for variable in ("CXX", "CXXFLAGS"):
        said = check_system(**{"PATH": os.environ["PATH"], variable: "g++ '"})
        assert said.startswith(f"{variable}: expected shell words, got 'g++ '': ")


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_a_compiler_without_cxx20_is_a_sentence(tmp_path: Path) -> None:
    old = tmp_path / "old g++"
    old.write_text("#!/bin/sh\necho \"c++: error: unrecognized option '-std=c++20'\" >&2; exit 1\n")
    old.chmod(0o755)
    said = check_system(PATH=os.environ["PATH"], CXX=f"'{old}'")
    assert said.startswith(f"'{old}' does not compile C++20 (c++: error: unrecognized option")
    assert said.endswith("On Debian and Ubuntu: sudo apt-get install g++, or name another with CXX")
    assert check_system(PATH=os.environ["PATH"]) == ""
    assert check_system(PATH=os.environ["PATH"], CXX="g++ -m64") == ""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_missing_python_headers_are_a_sentence(tmp_path: Path) -> None:
    for include, remedy in (
        ("/usr/include/python3.77", "sudo apt-get install python3."),
        (str(tmp_path), "install them, or build with a Python that has them"),
    ):
        (tmp_path / "sitecustomize.py").write_text(
            f"import sysconfig\nsysconfig.get_path = lambda *a: {include!r}\n"
        )
        paths = os.pathsep.join([str(tmp_path), str(BACKEND)])
        said = check_system(PATH=os.environ["PATH"], PYTHONPATH=paths)
        assert f"are missing, {include}/Python.h; " in said
        assert remedy in said


def test_hooks_end_with_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core")
    code = "import backend; print(backend.get_requires_for_build_wheel())"
    environment = {"PYTHONPATH": os.pathsep.join([str(BACKEND), *sys.path]), "PATH": str(tmp_path)}
    done = python("-c", code, status=1, env=environment, cwd=BACKEND.parent)
    assert done.stderr.splitlines()[-1].startswith("planet: a C++ compiler is missing;")
    assert "Traceback" not in done.stderr


def test_sources_without_write_access_are_built_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core")
    code = (
        f"import os, sys; sys.path[:0] = {[str(BACKEND), *sys.path]!r}; import backend\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "import unittest.mock as mock\n"
        "with mock.patch('os.access', lambda path, mode: False):\n"
        "    folder = backend._with_folder(None)['build-dir']\n"
        "    assert os.path.isdir(folder)\n"
        "    assert backend._with_folder({'build-dir': 'x'}) == {'build-dir': 'x'}\n"
        "with mock.patch('os.access', lambda path, mode: True):\n"
        "    assert backend._with_folder({'a': 'b'}) == {'a': 'b'}\n"
        "print(folder)"
    )
    assert not Path(python("-c", code).stdout.strip()).exists()  # removed in the end
