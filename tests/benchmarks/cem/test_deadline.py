"""The benchmark of budgets: what it counts, and that its busy process ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cem import deadline
from ops.fused_support import needs_extension

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="pins processes to cores")


def test_overshoot_is_the_wall_time_minus_the_budget() -> None:
    row = deadline.summary(20.0, [(18.0, 3), (19.0, 3), (26.0, 4)], single=5.0)
    assert row["overshoot_p50_ms"] == -1.0
    assert row["overshoot_max_ms"] == 6.0
    assert row["overshot"] == pytest.approx(1 / 3)
    assert (row["iterations_median"], row["plans"], row["budget_ms"]) == (3.0, 3, 20.0)
    assert not row["below_one_iteration"]


@pytest.mark.parametrize(
    ("times", "single", "below"),
    [
        ([(30.0, 1), (31.0, 1)], 30.0, True),
        ([(15.0, 1), (15.0, 1)], 15.0, False),  # one iteration fits, two do not
        ([(30.0, 1), (19.0, 2)], 30.0, False),
    ],
)
def test_budgets_shorter_than_one_iteration_are_told_apart(
    times: list[tuple[float, int]], single: float, below: bool
) -> None:
    assert deadline.summary(20.0, times, single)["below_one_iteration"] is below


@linux
def test_the_busy_process_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = deadline.subprocess.Popen
    monkeypatch.setattr(
        deadline.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1]
    )
    with deadline.busy_core(False):
        assert not started
    with pytest.raises(KeyboardInterrupt), deadline.busy_core(True):
        (process,) = started
        assert process.poll() is None
        assert os.sched_getaffinity(process.pid) == {max(os.sched_getaffinity(0))}
        raise KeyboardInterrupt
    assert process.returncode is not None


@linux
@needs_extension
def test_the_table_and_the_json_have_every_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deadline.json"
    sizes = ["--presets", "small", "--threads", "1", "--budgets", "0.01", "60", "--plans", "2"]
    deadline.main([*sizes, "--json", str(path)])
    content = json.loads(path.read_text())
    precisions = 2 if content["build"]["int8"] else 1
    assert len(content["rows"]) == precisions * 2 * 2  # with and without the busy core, budgets
    assert content["machine"]["cores"] >= 1
    output = capsys.readouterr().out
    assert "overshoot in ms" in output
    assert "budgets shorter than one iteration" in output
