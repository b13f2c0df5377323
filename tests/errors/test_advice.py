"""Runs each command that messages propose, by stubs, where it would be printed."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from types import SimpleNamespace
from typing import Any

import pytest
from place import METADATA, Place
from processes import python, run, variables

from planet.errors import advice

Stand = Callable[[Place], tuple[str, list[str]]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


# --- from where ---------------------------------------------------------------------------------


def clone(place: Place) -> tuple[str, list[str]]:
    """Runs from the source folder, which is not installed."""
    root = place.source("a clone, später")
    place.runs_from(root)
    return str(root), []


def inside_clone(place: Place) -> tuple[str, list[str]]:
    root = place.source("clone")
    place.runs_from(root)
    place.patch.chdir(root)
    return ".", []


def installed_folder(place: Place) -> tuple[str, list[str]]:
    root = place.source("a b ü")
    place.installed({"url": root.as_uri(), "dir_info": {}})
    return str(root), ["--force-reinstall", "--no-deps"]


def editable(place: Place) -> tuple[str, list[str]]:
    root = place.source("clone")
    place.runs_from(root)
    place.installed({"url": root.as_uri(), "dir_info": {"editable": True}})
    return str(root), ["--force-reinstall", "--no-deps", "-e"]


def wheel_file(place: Place) -> tuple[str, list[str]]:
    wheel = place.folder / "planet_rl-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("planet_rl-0.1.0.dist-info/METADATA", METADATA)
        archive.writestr("planet_rl-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    place.installed({"url": wheel.as_uri(), "archive_info": {}})
    return str(wheel), ["--force-reinstall", "--no-deps"]


def repository(place: Place) -> tuple[str, list[str]]:
    vcs = {"vcs": "git", "commit_id": "0123abc"}
    place.installed({"url": "https://example.org/p.git", "vcs_info": vcs})
    return "planet-rl @ git+https://example.org/p.git@0123abc", ["--force-reinstall", "--no-deps"]


def by_name(place: Place) -> tuple[str, list[str]]:
    place.installed(None, name=True)
    return "planet-rl", ["--force-reinstall", "--no-deps", "--no-binary", "planet-rl"]


KNOWN = [clone, inside_clone, installed_folder, editable, wheel_file, repository, by_name]


@pytest.mark.parametrize("stand", KNOWN)
def test_commands_name_what_can_be_installed_where_the_user_stands(
    stand: Stand, place: Place
) -> None:
    requirement, options = stand(place)
    place.stub("pip")
    with_extra = f"{requirement}[train]"
    if stand is repository:
        with_extra = requirement.replace("planet-rl @", "planet-rl[train] @")
    editing = ["-e"] if stand is editable else []
    assert place.run(advice.install_extra()) == [
        ["pip", "PLANET_CUDA=", "install", *editing, with_extra]
    ]
    assert place.run(advice.rebuild()) == [
        ["pip", "PLANET_CUDA=", "install", *options, requirement]
    ]
    if stand is not wheel_file:
        assert place.run(advice.rebuild(cuda=True)) == [
            ["pip", "PLANET_CUDA=ON", "install", *options, requirement]
        ]


@pytest.mark.parametrize("stand", [clone, inside_clone, editable, wheel_file])
def test_pip_itself_takes_the_commands(stand: Stand, place: Place) -> None:
    stand(place)
    command, inside = advice.install_extra(), os.getcwd()
    place.patch.undo()  # so that this interpreter stands for the stub
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this Python has no pip")
    assert command.startswith("python -m pip install ")
    flags = "--dry-run --no-deps --no-index --force-reinstall"
    command = command.replace("python -m pip install", f"'{sys.executable}' -m pip install {flags}")
    done = run("sh", "-c", command, cwd=inside)
    assert "Would install planet-rl-0.1.0" in done.stdout
    assert "does not provide the extra" not in done.stderr


@pytest.mark.parametrize("gone", ["folder", "wheel", "never installed"])
def test_without_the_source_the_extra_s_packages_are_named(gone: str, place: Place) -> None:
    place.stub("pip")
    noted: dict[str, Any] = {"url": (place.folder / "gone").as_uri()}
    if gone == "never installed":
        wanted = ".[train]"
    else:
        place.installed(noted | ({"dir_info": {}} if gone == "folder" else {"archive_info": {}}))
        wanted = ""
        packages = ["tyro", 'mujoco<4,>=3.17; python_version < "3.20"', "dm_control>=1.0.50"]
        assert place.run(advice.install_extra())[0][2:] == ["install", *packages]
    where, _, command = advice.rebuild(cuda=True).partition(": ")
    assert where == "in planet's source folder"
    root = place.source("clone")
    place.patch.chdir(root)
    assert place.run(command)[0][1:3] == ["PLANET_CUDA=ON", "install"]
    if wanted:
        where, _, command = advice.install_extra().partition(": ")
        assert place.run(command)[0][-1] == wanted


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"url": "file:///x", "dir_info": 3}', "null"])
def test_a_note_that_cannot_be_read_is_no_obstacle(text: str, place: Place) -> None:
    place.patch.setattr(
        advice, "_distribution", lambda: SimpleNamespace(read_text=lambda name: text, requires=None)
    )
    assert advice.install_extra().startswith("in planet's source folder: ")


def test_a_folder_that_was_removed_is_no_obstacle(place: Place) -> None:
    place.runs_from(place.source("clone"))
    (place.folder / "left").mkdir()
    place.patch.chdir(place.folder / "left")
    (place.folder / "left").rmdir()
    assert f"{place.folder / 'clone'}[train]" in advice.install_extra()
    place.patch.chdir(place.folder)


# --- by whom ------------------------------------------------------------------------------------


def test_pip_is_called_by_name_only_where_it_is_this_environment_s(place: Place) -> None:
    assert advice.install("x") == "python -m pip install x"
    place.stub("pip", into=place.folder / "other")
    place.path(place.folder / "other", place.bin)
    assert place.run(advice.install("tyro>=1", "a b")) == [
        ["python", "PLANET_CUDA=", "-m", "pip", "install", "tyro>=1", "a b"]
    ]
    place.stub("pip")
    place.path(place.bin)
    assert place.run(advice.install("x")) == [["pip", "PLANET_CUDA=", "install", "x"]]


def test_an_environment_that_is_not_active_is_named(place: Place) -> None:
    place.path()
    place.stub("pip")
    assert advice.install("x") == f"{quote(f'{place.bin}/python')} -m pip install x"
    assert place.run(advice.install("x")) == [
        ["python", "PLANET_CUDA=", "-m", "pip", "install", "x"]
    ]


def test_uv_installs_where_there_is_no_pip(place: Place) -> None:
    place.finds()
    assert place.run(advice.rebuild().partition(": ")[2])[0][2:] == ["-m", "ensurepip"]
    place.stub("uv", into=place.folder / "home")
    place.path(place.bin, place.folder / "home")
    assert place.run(advice.install("x")) == [
        ["uv", "PLANET_CUDA=", "pip", "install", "--python", sys.executable, "x"]
    ]


def test_a_python_of_the_system_gets_an_environment_first(place: Place) -> None:
    place.patch.setattr(sys, "base_prefix", sys.prefix)
    place.patch.setattr(advice.sysconfig, "get_path", lambda name: str(place.folder))
    assert advice.install("x") == "python -m pip install x"
    (place.folder / "EXTERNALLY-MANAGED").touch()
    place.patch.chdir(place.folder)
    place.stub("pip", into=place.folder / ".venv" / "bin")
    calls = place.run(advice.install("x"))
    assert calls == [["python", "PLANET_CUDA=", "-m", "venv", ".venv"],
                     ["pip", "PLANET_CUDA=", "install", "x"]]  # fmt: skip


def test_packages_are_repaired_within_the_extra_s_bounds(place: Place) -> None:
    place.stub("pip")
    place.installed(None, name=True)
    bounded = 'mujoco<4,>=3.17; python_version < "3.20"'
    assert place.run(advice.repair("mujoco"))[0][2:] == ["install", "--force-reinstall", bounded]
    assert place.run(advice.repair("tqdm"))[0][2:] == ["install", "--force-reinstall", "tqdm"]
    dm_control = place.run(advice.repair("dm_control"))[0][2:]
    assert dm_control == ["install", "--force-reinstall", bounded, "dm_control>=1.0.50"]


def test_dm_control_comes_without_labmaze_where_that_cannot_be_installed(place: Place) -> None:
    root = place.source("clone")
    place.runs_from(root)
    place.stub("pip")
    place.patch.setattr(advice, "_WITHOUT_LABMAZE", True)
    first, second = place.run(advice.install_extra())
    assert first[-1] == f"{root}[train]"
    assert second[2:] == ["install", "--no-deps", advice.DM_CONTROL]
    assert place.run(advice.repair("dm_control"))[0][2:] == [
        "install", "--force-reinstall", "--no-deps", advice.DM_CONTROL
    ]  # fmt: skip
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert not pyproject.exists() or f'"{advice.DM_CONTROL}' in pyproject.read_text()


@pytest.mark.parametrize(("user", "words"), [(0, ["apt-get"]), (1000, ["sudo", "apt-get"])])
def test_system_packages_are_installed_as_root(user: int, words: list[str], place: Place) -> None:
    place.stub("sudo", "apt-get")
    place.patch.setattr(os, "geteuid", lambda: user)
    update, install = place.run(advice.system_packages("libegl1", "libgl1"))
    assert [word for word in update if "=" not in word] == [*words, "update"]
    assert [word for word in install if "=" not in word] == [
        *words, "install", "-y", "--no-install-recommends", "libegl1", "libgl1",
    ]  # fmt: skip
    place.patch.setenv("PATH", str(place.bin / "nothing"))  # another system
    assert advice.system_packages("libegl1").startswith(f"on Debian and Ubuntu: {words[0]} ")


# --- the command line ---------------------------------------------------------------------------


def test_the_program_is_named_as_the_shell_finds_it(place: Place) -> None:
    assert advice.program() == "planet"
    assert place.run(f"{advice.program()} doctor") == [["planet", "PLANET_CUDA=", "doctor"]]
    place.path()  # the environment is not active
    assert place.run(f"{advice.program()} doctor")[0][0] == "planet"
    assert advice.program() == quote(str(place.bin / "planet"))
    place.patch.setattr(sys, "argv", [str(place.folder / "planet" / "__main__.py")])
    assert advice.program() == f"{quote(f'{place.bin}/python')} -m planet"
    place.path(place.bin)
    assert advice.program() == "python -m planet"


def test_a_link_to_the_program_is_the_program(place: Place) -> None:
    """As pipx and `uv tool` make it."""
    home = place.folder / "home"
    home.mkdir()
    (home / "planet").symlink_to(place.bin / "planet")
    place.path(home)
    place.patch.setattr(sys, "argv", [str(home / "planet")])
    assert advice.program() == "planet"
    place.patch.setattr(sys, "argv", ["script.py"])
    assert advice.program() == f"{quote(f'{place.bin}/python')} -m planet"


@pytest.mark.parametrize("package", ["numpy", "torch"])
@pytest.mark.parametrize("fault", ["raise OSError('libcudart.so.13: no such file')", None])
def test_a_missing_or_broken_requirement_is_named(
    package: str, fault: str | None, tmp_path: Path
) -> None:
    code = f"sys.modules[{package!r}] = None"
    if fault is not None:
        (tmp_path / f"{package}.py").write_text(fault)
        code = f"sys.path.insert(0, {str(tmp_path)!r})"
    code = f"import sys; sys.path[:0] = {[str(advice.PACKAGE.parent)]!r}; {code}; import planet"
    message = python("-c", code, status=1).stderr.splitlines()[-1]
    needed = {"numpy": "numpy", "torch": "torch>=2.11"}[package]
    assert message.startswith(f"ImportError: planet needs {needed}, which cannot be imported")
    assert ("libcudart.so.13" in message) is (fault is not None)
    # A broken one counts as installed: asked for by name alone it would stay.
    assert ("install --force-reinstall " in message) is (fault is not None)
    assert message.endswith(shlex.quote(needed))


def test_a_module_s_usage_names_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tyro", reason="the command line needs the train extra")
    code = f"""
import sys
from planet.cli import main
sys.argv = [{str(advice.PACKAGE / "__main__.py")!r}]
for command in ("train", "evaluate", "profile", "export", "doctor"):
    main([command, "--help"])
main([])
"""
    done = python("-c", code, env=variables())
    for command in ("train", "evaluate", "profile", "export", "doctor", "COMMAND"):
        assert re.search(rf"usage: \S*python3? -m planet {command}", done.stdout), command


# --- nobody else writes such commands -----------------------------------------------------------


def strings(path: Path) -> list[str]:
    """Literals of a module but for docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def test_commands_that_install_are_written_in_one_module() -> None:
    package = advice.PACKAGE
    wrong = [
        f"{path.relative_to(package)}: {text}"
        for path in package.rglob("*.py")
        if path.name != "advice.py"
        for text in strings(path)
        if re.search(r"pip install|apt-get|-m pip|uv pip|planet-rl\[", text)
    ]
    assert wrong == []


def test_the_extra_s_packages_are_read_from_the_metadata() -> None:
    if advice._distribution() is None:
        pytest.skip("planet-rl is not installed")
    assert advice.packages_of("train") and not advice.packages_of("absent")
    assert all("extra" not in package for package in advice.packages_of("train"))
