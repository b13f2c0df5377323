"""The Makefile's set-up, .ci/environment and .ci/system-packages; a script stands for Python."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import processes
import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="no source tree")

PYTHON = """#!/bin/sh
# Stands for Python and its venvs: notes each call, installs nothing.
case "$1 $2" in
  "-V ") echo "Python $VERSION"; exit;;
  "-m venv") mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python";;
  "-m planet") shift 2; printf "<%s>" "$@" >> "$LOG"; echo >> "$LOG"; exit;;
  "-m pytest") pwd >> "$LOG";;
  "-m pip") [ -z "$BROKEN" ] || exit 1;;
  "-c "*)
    case "$2" in
      *libcuda*) echo "$DEVICES";;
      *torch*) echo True;;
      *'(3, 13)'*) exit "$OLD";;
    esac
    exit 0;;
esac
printf '%s ' "$@" "PLANET_CUDA=$PLANET_CUDA" >> "$LOG"; echo >> "$LOG"
"""

Make = Callable[..., list[str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Runs a target in a copy of the tree whose path is awkward; returns the calls of Python."""
    tree = tmp_path / "Müller & Söhne, it's (a) $HOME"
    tree.mkdir()
    (tmp_path / "tests").mkdir()  # where CDPATH would lead
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, tree)
    for name in ("planet", "csrc", "bindings", "cmake", "_build_backend", "tests"):
        (tree / name).mkdir()
        (tree / name / "source.txt").write_text(name)
    shutil.copytree(ROOT / ".ci", tree / ".ci")
    python = tmp_path / "a python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    log = tmp_path / "log"

    def run(target: str, **variables: str) -> list[str]:
        log.write_text("")
        environment = {
            "PATH": "/usr/bin:/bin", "LANG": "C", "PYTHON": str(python), "LOG": str(log),
            "DEVICES": "0", "OLD": "1", "CDPATH": str(tmp_path), **variables,
        }  # fmt: skip
        done = processes.run("make", target, status=None, cwd=tree, env=environment, input="")
        run.output = done.stdout + done.stderr  # type: ignore[attr-defined]
        return log.read_text(encoding="utf-8").splitlines()

    run.tree = tree  # type: ignore[attr-defined]
    return run


def installs(calls: list[str]) -> list[str]:
    """Lists what pip was told to install."""
    return [c.split("install -q ")[1] for c in calls if c.startswith("-m pip install")]


def test_the_environment_is_made_once_and_again_when_something_changed(make: Make) -> None:
    off = " PLANET_CUDA=OFF"
    first = make("test")
    assert installs(first) == [f"torch==2.13.0{off} ", f".[test,train]{off} "]
    assert first[-2] == str(make.tree / "tests")  # where pytest runs
    assert first[-1].startswith("-m pytest -n 2")
    assert installs(make("test")) == []
    assert installs(make("demo")) == []
    # Settings of the build, sources, extras.
    assert installs(make("test", PLANET_CUDA="ON"))[1] == ".[test,train] PLANET_CUDA=ON "
    assert installs(make("demo", PLANET_CUDA="ON")) == []
    assert len(installs(make("demo"))) == 2
    assert len(installs(make("demo", PLANET_WERROR="ON"))) == 2
    assert len(installs(make("demo", PLANET_CUDA_ARCHS="90a"))) == 2
    assert len(installs(make("demo"))) == 2
    (make.tree / "csrc" / "source.txt").write_text("changed")
    assert len(installs(make("demo"))) == 2
    (make.tree / "csrc" / "source.txt").unlink()
    assert len(installs(make("demo"))) == 2
    assert installs(make("demo")) == []
    # What is built stays where packages alone are missing.
    assert installs(make("test"))[1].startswith("planet-rl[test,train]")
    assert installs(make("check"))[1].startswith("planet-rl[dev,test,train]")


def test_an_installation_that_failed_is_made_again(make: Make) -> None:
    make("demo")
    assert make("demo", PLANET_WERROR="ON", BROKEN="1")[-1].startswith("-m ensurepip")
    assert len(installs(make("demo"))) == 2  # who knows what is installed now


def test_an_interpreter_that_was_replaced_gets_its_own_packages(make: Make) -> None:
    first = make("demo", VERSION="3.11.2")
    assert first[0].startswith(f"-m venv {make.tree}/.venv PLANET_CUDA")
    assert installs(make("demo", VERSION="3.11.9")) == []
    assert len(installs(make("demo", VERSION="3.13.1"))) == 2
    # One that is gone: venv leaves links to it as they are.
    (make.tree / ".venv" / "bin" / "python").unlink()
    again = make("demo", VERSION="3.13.1")
    assert again[0].startswith(f"-m venv {make.tree}/.venv --clear PLANET_CUDA")


def test_the_kernels_are_left_out_where_no_gpu_is_visible(make: Make) -> None:
    make("demo")
    line = "no GPU is visible, so the CUDA kernels are left out (PLANET_CUDA=AUTO builds them)"
    assert make.output.count(f"== planet: {line}\n") == 1  # type: ignore[attr-defined]
    assert make("test")[-1].endswith(" PLANET_CUDA= ")  # what runs then sees what was given
    assert installs(make("demo", DEVICES="2"))[1].endswith("PLANET_CUDA= ")
    assert "no GPU" not in make.output  # type: ignore[attr-defined]


def test_dm_control_comes_alone_where_labmaze_cannot_be_had(make: Make) -> None:
    assert installs(make("demo", OLD="0"))[2].startswith("--no-deps dm_control>=1.0.50")


def test_folders_may_be_named_anything(make: Make, tmp_path: Path) -> None:
    venv = tmp_path / "my 'venv' ü"
    calls = make("demo", VENV=str(venv), RUN="runs/a b's", DEMO="--train.seed 3", EPISODES="2")
    assert calls[-2].endswith("<--directory><runs/a b's><--train.seed><3>")
    assert calls[-1] == "<evaluate><runs/a b's><--episodes><2><--baselines>"
    assert not (make.tree / ".venv").exists()  # type: ignore[attr-defined]


def system_packages(folder: Path, python: str, *tools: str) -> tuple[int, str]:
    """Status and output of .ci/system-packages where PATH has these tools alone."""
    folder.mkdir()
    for tool in ("bash", "env", "id", *tools):
        (folder / tool).symlink_to(shutil.which(tool) or "/usr/bin/" + tool)
    script = ROOT / ".ci" / "system-packages"
    done = processes.run("/bin/bash", script, python, status=None, env={"PATH": str(folder)})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_a_probe_that_fails_is_not_taken_for_absence(tmp_path: Path) -> None:
    # Neither ldconfig nor anything else of a superuser's PATH is needed to see what is there.
    status, text = system_packages(tmp_path / "1", sys.executable, "g++", "make")
    assert (status, text) == (0, "") or "has not got" in text or "libegl1" in text
    if "has not got" not in text:
        status, again = system_packages(tmp_path / "2", sys.executable, "g++", "make", "ldconfig")
        assert text == again
    # Each lack by its name, with the command.
    status, text = system_packages(tmp_path / "3", sys.executable, "make")
    assert status == 1
    assert "These system packages are missing: g++" in text or "has not got" in text
    # An interpreter that does not run is that, and not a missing package.
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'python3.13: command not found' >&2; exit 127\n")
    broken.chmod(0o755)
    status, text = system_packages(tmp_path / "4", str(broken), "g++", "make")
    assert status == 1
    assert text.splitlines() == [
        "python3.13: command not found", f"PYTHON={broken} cannot be used, see above"
    ]  # fmt: skip
    status, text = system_packages(tmp_path / "5", str(tmp_path / "nowhere"), "g++", "make")
    assert status == 1
    assert "PYTHON: expected a Python interpreter, got" in text


def test_an_sdist_holds_what_the_makefile_needs() -> None:
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    excluded = settings["tool"]["scikit-build"]["sdist"]["exclude"]
    needed = {
        ".ci", "tests", "benchmarks", "emulator", "examples", "docs", "cmake", "csrc", "bindings"
    }  # fmt: skip
    assert not needed & set(excluded)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert not needed & {name.strip("/") for name in ignored}
