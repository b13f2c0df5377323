"""Tests that figures say what they were measured on, and not where the measurer's files lie."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


def absolute_paths(content: Any) -> Iterator[str]:
    """Words of any text in `content` that are absolute paths."""
    if isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from absolute_paths(each)
    elif isinstance(content, str):
        yield from (word for word in content.split() if word.startswith("/"))


def test_circumstances_hold_no_path_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from circumstances import circumstances

    script, out = BENCHMARKS / "learning" / "step.py", BENCHMARKS.parents[1] / "results.json"
    monkeypatch.setattr(sys, "argv", [str(script), "--samples", "2", "--out", str(out)])
    found = circumstances()
    assert list(absolute_paths(found)) == []
    assert found["command"] == "benchmarks/learning/step.py --samples 2 --out results.json"
    assert found["machine"]["build"]["torch"]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_kept_results_hold_no_path_of_a_machine(path: Path) -> None:
    assert list(absolute_paths(json.loads(path.read_text(encoding="utf-8")))) == []
