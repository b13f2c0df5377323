"""Packages that cannot be imported are named, with what went wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from planet.diagnostics.packages import broken_packages

# How a package that is installed fails when it is imported.
BROKEN = {
    "tensorboard": ("raise TypeError('Descriptors cannot be created directly')",
                    "TypeError: Descriptors cannot be created directly"),
    "tyro": ("import absent_from_everywhere", "ModuleNotFoundError: No module named 'absent_from"),
    "imageio": ("raise SystemExit(3)", "SystemExit: 3"),
    "OpenGL": ("import os; os.abort()", "importing it ended the process with -6"),
    "gymnasium": ("print('noise'); numpy = 1 / 0", "ZeroDivisionError: division by zero"),
}  # fmt: skip


def test_packages_that_cannot_be_imported_are_named_whatever_they_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, (program, _) in BROKEN.items():
        (tmp_path / f"{module}.py").write_text(program)
    (tmp_path / "tqdm.py").write_text("sound = True")
    monkeypatch.syspath_prepend(tmp_path)
    statements = {"tensorboard": "import tensorboard"}  # without torch, which takes its time
    monkeypatch.setattr("planet.diagnostics.packages._USED", statements)
    found = broken_packages([*BROKEN, "tqdm"], 300)
    assert set(found) == set(BROKEN)
    for module, (_, error) in BROKEN.items():
        assert found[module].startswith(error)


def test_an_import_that_does_not_end_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tqdm.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    assert broken_packages(["tqdm"], 3) == {"tqdm": "importing it did not end within 3 s"}
