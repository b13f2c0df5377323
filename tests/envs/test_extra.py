"""Packages of the extra that are missing or broken: named, whatever importing them raises."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from planet.envs.extra import import_extra


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("import absent_package", ImportError, "need absent_package; install it with"),
        ("raise TypeError('Descriptors')", ImportError, r"cannot be imported \(TypeError: Descrip"),
        ("import numpy; numpy.bool8_", ImportError, r"cannot be imported \(AttributeError: module"),
        ("raise ImportError('libGL')", ImportError, "^libGL$"),
    ],
)
def test_packages_that_cannot_be_imported_are_named(
    statement: str, kind: type[Exception], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "some_extra.py").write_text(statement)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_extra", raising=False)
    with pytest.raises(kind, match=message):
        import_extra("some_extra")
