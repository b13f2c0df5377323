"""Version and commit of the planet that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import planet
from planet.diagnostics.source import source_facts
from planet.errors import advice


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *settings, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with one commit that planet runs from."""
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "v1")  # which does not stand for the commit
    monkeypatch.setattr(advice, "source_folder", lambda: tmp_path)
    return tmp_path


def test_a_clone_tells_its_commit_and_whether_files_differ_from_it(clone: Path) -> None:
    commit = git(clone, "rev-parse", "HEAD")
    assert source_facts() == {"version": planet.__version__, "commit": commit}
    (clone / "file").write_text("two")
    assert source_facts()["commit"] == f"{commit}-dirty"


def test_a_folder_that_is_no_clone_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "source_folder", lambda: tmp_path)
    assert source_facts()["commit"] is None


def test_a_clone_without_git_has_no_commit(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(clone))
    assert source_facts()["commit"] is None


@pytest.mark.parametrize(
    ("origin", "commit"),
    [(advice.Origin("git+https://example.org/planet.git@0123abc", "url"), "0123abc"),
     (advice.Origin("https://example.org/planet.whl", "url"), None),
     (advice.Origin("/somewhere/planet", "folder"), None),
     (advice.Origin("planet-rl", "name"), None)],
)  # fmt: skip
def test_an_installed_planet_tells_what_the_installer_noted(
    origin: advice.Origin, commit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice, "source_folder", lambda: None)
    monkeypatch.setattr(advice, "origin", lambda: origin)
    assert source_facts()["commit"] == commit


def test_a_package_that_was_installed_from_a_clone_has_its_commit(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for home in (clone, tmp_path / "installed"):
        (home / "planet").mkdir(parents=True)
        (home / "planet" / "file.py").write_text("one")
    git(clone, "add", "planet")
    git(clone, "commit", "-q", "-m", "second")
    monkeypatch.setattr(advice, "source_folder", lambda: None)
    monkeypatch.setattr(advice, "PACKAGE", tmp_path / "installed" / "planet")
    monkeypatch.setattr(advice, "origin", lambda: advice.Origin(str(clone), "folder"))
    monkeypatch.setattr("planet.diagnostics.source.fingerprint", lambda root: "one hash")
    monkeypatch.setattr("planet.diagnostics.source.build_info", lambda: {"fingerprint": "one hash"})
    assert (source_facts()["commit"] or "").startswith(git(clone, "rev-parse", "HEAD"))
    (clone / "planet" / "file.py").write_text("two")
    assert source_facts()["commit"] is None
    git(clone, "checkout", "planet")
    monkeypatch.setattr("planet.diagnostics.source.build_info", lambda: {"fingerprint": "other"})
    assert source_facts()["commit"] is None
