"""Tests finding the compiled extension, and what is said where it is missing."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch
from conftest import FUSED_MISSING, fused_is_built
from processes import python

import planet
from planet import build_info
from planet.errors import advice
from planet.ops import extension
from planet.ops.fingerprint import MARK, compiled_fingerprint, fingerprint, source_files

ROOT = Path(__file__).parents[2]
SUFFIX = extension.SUFFIX
OTHER_PYTHON = "_C.cpython-399-x86_64-linux-gnu.so"
Look = Callable[..., extension.Missing]
needs_sources = pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="no source folder")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_package(folder: Path) -> Path:
    return write(folder / "planet" / "__init__.py").parent


def make_sources(root: Path) -> Path:
    """Makes a small source folder with its package."""
    for name in ("pyproject.toml", "CMakeLists.txt", "bindings/module.cpp", "csrc/cpu/cem.cpp"):
        write(root / name, f"// {name}\n")
    return make_package(root)


def make_extension(package: Path, sources: str, name: str = f"_C{SUFFIX}") -> Path:
    """Makes a file that looks like an extension until it is loaded."""
    return write(package / name, f"\x7fNOT ELF\0{MARK}{sources}\0")


@pytest.fixture
def run_from(monkeypatch: pytest.MonkeyPatch) -> Look:
    """Looks for an extension as a planet in some folder would; what is missing then."""

    def look(package: Path, *path: Path) -> extension.Missing:
        monkeypatch.setattr(advice, "PACKAGE", package)
        monkeypatch.setattr(planet, "__path__", [str(package)])
        monkeypatch.setattr(sys, "path", [str(package.parent), *map(str, path), "absent", ""])
        monkeypatch.delitem(sys.modules, extension.NAME, raising=False)
        module, failure = extension._load()
        assert module is None
        monkeypatch.setattr(extension, "_failure", failure)
        return extension.missing()

    return look


# --- causes -------------------------------------------------------------------------------------


def test_not_built(tmp_path: Path, run_from: Look) -> None:
    why = run_from(make_sources(tmp_path))
    assert why.cause == (
        f"it is not built: planet runs from the source folder {tmp_path} and is not installed for "
        f"{sys.executable}"
    )
    assert why.remedy == advice.rebuild() and str(tmp_path) in why.remedy


def test_installed_without_it(tmp_path: Path, run_from: Look) -> None:
    package = make_package(tmp_path)
    assert run_from(package).cause == f"the planet installed in {package} came without it"


def test_hidden_and_built_from_other_sources(tmp_path: Path, run_from: Look) -> None:
    package, installed = make_sources(tmp_path / "clone"), make_package(tmp_path / "site")
    make_extension(installed, "0123456789abcdef")
    why = run_from(package, tmp_path / "site")
    assert why.cause == (
        f"the source folder {tmp_path / 'clone'} hides the planet installed in {installed}, whose "
        "extension was built from other sources (0123456789abcdef, here "
        f"{fingerprint(tmp_path / 'clone')})"
    )
    assert why.remedy == advice.rebuild() and "clone" in why.remedy


def test_an_extension_without_a_fingerprint_is_of_other_sources(
    tmp_path: Path, run_from: Look
) -> None:
    package, installed = make_sources(tmp_path / "clone"), make_package(tmp_path / "site")
    write(installed / f"_C{SUFFIX}", "from before there were fingerprints")
    assert "(no fingerprint, here " in run_from(package, tmp_path / "site").cause


def test_the_first_of_several_with_the_same_sources_is_loaded(
    tmp_path: Path, run_from: Look
) -> None:
    package = make_sources(tmp_path / "clone")
    for folder in ("old", "new", "newer"):
        sources = "0" * 16 if folder == "old" else fingerprint(tmp_path / "clone")
        make_extension(make_package(tmp_path / folder), sources)
    make_extension(make_package(tmp_path / "old"), fingerprint(tmp_path / "clone"), OTHER_PYTHON)
    why = run_from(package, *(tmp_path / folder for folder in ("old", "new", "newer")))
    wanted = tmp_path / "new" / "planet" / f"_C{SUFFIX}"
    assert why.cause.startswith(f"{wanted} cannot be loaded (ImportError: ")


def test_an_older_build_that_python_prefers_hides_nothing(tmp_path: Path, run_from: Look) -> None:
    package = make_sources(tmp_path)
    make_extension(package, "0" * 16, f"_C{EXTENSION_SUFFIXES[0]}")
    suits = make_extension(package, fingerprint(tmp_path), f"_C{EXTENSION_SUFFIXES[-1]}")
    assert run_from(package).cause.startswith(f"{suits} cannot be loaded (ImportError: ")


def test_a_package_that_is_no_source_folder_takes_nobody_s_extension(
    tmp_path: Path, run_from: Look
) -> None:
    package, installed = make_package(tmp_path / "vendored"), make_package(tmp_path / "site")
    make_extension(installed, "0123456789abcdef")
    why = run_from(package, tmp_path / "site")
    assert why.cause == (
        f"{package}, which is no source folder, has none and hides the installed {installed}"
    )
    assert why.remedy == f"remove {package} or start Python where it is not on the path"


@pytest.mark.parametrize("place", ["clone", "site"])
def test_built_for_another_python(place: str, tmp_path: Path, run_from: Look) -> None:
    package = make_sources(tmp_path / "clone")
    make_package(tmp_path / "site")
    make_extension(tmp_path / place / "planet", fingerprint(tmp_path / "clone"), OTHER_PYTHON)
    why = run_from(package, tmp_path / "site")
    assert why.cause == (
        f"{tmp_path / place / 'planet' / OTHER_PYTHON} was built for another Python or platform; "
        f"{sys.executable} needs _C{SUFFIX}"
    )
    assert why.remedy == advice.rebuild()


def test_a_file_that_fails_to_load(
    tmp_path: Path, run_from: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_package(tmp_path)
    file = make_extension(package, "0" * 16)
    why = run_from(package)
    assert why.cause.startswith(f"{file} cannot be loaded (ImportError: {file}: ")
    assert why.remedy == advice.rebuild()
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    why = extension.missing()
    assert why.cause == "torch 2.9.1+cpu is older than 2.11, which the extension needs"
    assert why.remedy == advice.install("torch>=2.11")


def test_a_file_inside_the_source_folder_goes_before_another_is_built(
    tmp_path: Path, run_from: Look
) -> None:
    """Whatever it is: one of other sources lacks ops, or has others, and is not loaded."""
    root = tmp_path / "a clone"
    package = make_sources(root)
    for name, said in ((f"_C{SUFFIX}", "0" * 16), ("_C.py", "no fingerprint")):
        file = make_extension(package, said) if said == "0" * 16 else write(package / name, "x = 1")
        why = run_from(package)
        assert why.cause == (
            f"{file} was built from other sources than those in {root} "
            f"({said}, here {fingerprint(root)})"
        )
        assert why.remedy == f"rm '{file}' && {advice.rebuild()}"
        file.unlink()
    file = make_extension(package, fingerprint(root))
    why = run_from(package)
    assert why.cause.startswith(f"{file} cannot be loaded")
    assert why.remedy == f"rm '{file}' && {advice.rebuild()}"


def test_a_file_that_cannot_be_read(
    tmp_path: Path, run_from: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, installed = make_sources(tmp_path / "clone"), make_package(tmp_path / "site")
    make_extension(installed, "0" * 16)

    def refuse(file: Path) -> str:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(extension, "compiled_fingerprint", refuse)
    assert "Permission denied" in run_from(package, tmp_path / "site").cause


def test_an_archive(tmp_path: Path, run_from: Look) -> None:
    archive = write(tmp_path / "planet.zip")
    why = run_from(archive / "planet")
    assert why.cause == (
        f"planet runs from {archive / 'planet'}, out of which no compiled extension can be loaded"
    )


def test_every_place_states_the_same_cause_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    why = extension.Missing("the cause", "the remedy")
    monkeypatch.setattr(extension, "missing", lambda: why)
    monkeypatch.setattr(extension, "module", None)
    monkeypatch.setattr("planet.ops.fused._C", None)
    info = build_info()
    assert info["extension"] is False
    assert (info["reason"], info["remedy"]) == ("the cause", "the remedy")
    for call in (extension.path, planet.ops.fused._require_extension):
        with pytest.raises(ImportError, match="extension: the cause; the remedy: the remedy"):
            call()


@pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)
def test_a_wrong_instruction_set_is_not_a_missing_build() -> None:
    code = "from planet.ops import extension; print(extension.missing())"
    environment = {"PLANET_CPU_ISA": "mmx", "PATH": "/usr/bin:/bin"}
    done = python("-c", code, env=environment, cwd=advice.PACKAGE.parent)
    assert done.stdout.startswith("PLANET_CPU_ISA: expected one of 'baseline'")
    assert done.stdout.strip().endswith("got 'mmx'; the remedy: unset PLANET_CPU_ISA")


# --- the fingerprint ----------------------------------------------------------------------------


@needs_sources
@pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)
def test_the_extension_under_test_was_built_from_these_sources() -> None:
    built = build_info()
    assert built["fingerprint"] == fingerprint(ROOT), "install planet anew, then test"
    assert built["fingerprint"] == compiled_fingerprint(Path(built["file"]))


def copy_sources(target: Path) -> Path:
    for name in source_files(ROOT):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return target


@needs_sources
def test_copies_of_the_sources_have_one_fingerprint(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path / "elsewhere, später")
    module = copy / "bindings" / "module.cpp"
    module.write_bytes(module.read_bytes().replace(b"\n", b"\r\n"))
    module.chmod(0o600)
    for name in ("csrc/__pycache__/a.cpython-311.pyc", "csrc/.cem.h.swp", "csrc/cem.h~",
                 "csrc/#cem.h#", "csrc/cem.h.orig", "csrc/a.o", "csrc/_C.so", "build/x.cpp",
                 "bindings/notes.md", "bindings/cmake_install.cmake", "CMakeFiles/x.cpp",
                 "tests/csrc/new.cpp"):  # fmt: skip
        write(copy / name, "noise")
    (copy / "csrc" / ".#cem.h").symlink_to("someone@somewhere.4711")  # an editor's lock
    assert fingerprint(copy) == fingerprint(ROOT)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write(root / "csrc/cpu/cem.cpp", "// another\n"),
        lambda root: write(root / "csrc/cpu/new.inc", ""),
        lambda root: (root / "csrc/cpu/cem.cpp").rename(root / "csrc/cem.cpp"),
        lambda root: (root / "bindings/module.cpp").unlink(),
        lambda root: write(root / "CMakeLists.txt", "option(NEW)"),
        lambda root: write(root / "cmake/more.cmake", ""),
    ],
)
def test_other_sources_have_another_fingerprint(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    make_sources(tmp_path)
    before = fingerprint(tmp_path)
    change(tmp_path)
    assert fingerprint(tmp_path) != before


@needs_sources
def test_every_file_that_cmake_names_counts() -> None:
    text = " ".join((ROOT / n).read_text() for n in source_files(ROOT) if n.endswith(".txt"))
    named = set(re.findall(r"[\w.]+\.(?:cpp|cu|cmake)\b", text))
    assert len(named) > 20
    assert named <= {Path(name).name for name in source_files(ROOT)}


def test_the_build_s_header_changes_with_the_sources_alone(tmp_path: Path) -> None:
    make_sources(tmp_path)
    script = advice.PACKAGE / "ops" / "fingerprint.py"
    header = tmp_path / "build" / "sources.h"

    def build() -> tuple[str, int]:
        python("-I", script, tmp_path, header)
        return header.read_text(), header.stat().st_mtime_ns

    first = build()
    assert first[0] == f'#define PLANET_SOURCES "{MARK}{fingerprint(tmp_path)}"\n'
    assert build() == first  # so that nothing is compiled anew
    write(tmp_path / "csrc" / "new.h")
    assert build()[0] != first[0]
