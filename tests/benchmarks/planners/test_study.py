"""The study of planners: budgets, resumption, tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="figures need the train extra")

from planners import lines, report, study
from planners.budgets import PLANNERS, make, settings, switched
from planners.learned import GRADIENT
from planners.study import PARTS, Cell, cells, key_of

from planet.planning import GradientPlanner, ICEMPlanner


@pytest.mark.parametrize("rollouts", [30, 120, 150, 300, 1000])
@pytest.mark.parametrize("planner", PLANNERS)
def test_a_planner_uses_its_rollouts_and_no_more(planner: str, rollouts: int) -> None:
    made = make(planner, settings(planner, rollouts)).settings
    counted = sum(count + made.keep for count in made.counts)
    assert made.rollouts == counted
    assert 0.96 * rollouts <= counted <= rollouts
    assert min(made.counts) >= 2 * made.topk or planner == "shooting"


def test_gradient_ascent_scores_as_many_as_others_or_its_defaults() -> None:
    assert [make(*arm) for arm in GRADIENT][1] == GradientPlanner()
    assert [make(*arm).rollouts for arm in GRADIENT] == [120, 976]


def test_icem_of_120_rollouts_has_its_defaults() -> None:
    assert make("icem", settings("icem", 120)) == ICEMPlanner()


def test_the_way_from_cem_to_icem_has_the_studys_planners_at_its_ends() -> None:
    first, *between, last = switched().values()
    assert (first, last) == (("cem", settings("cem", 120)), ("icem", settings("icem", 120)))
    made = [make(planner, chosen) for planner, chosen in between]
    assert all(planner.settings.rollouts <= 120 for planner in made)
    assert len(set(map(str, made))) == 5 and made[-1] != make(*last)


def test_parts_share_episodes_and_none_is_named_twice_within_one() -> None:
    keys = {part: [cell.key for cell in cells(part)] for part in PARTS}
    assert all(len(set(of_part)) == len(of_part) for of_part in keys.values())
    assert (
        len(keys["budgets"]) == 3 * 3 * 4 * 3 and len(keys["tasks"] + keys["walker"]) == 4 * 4 * 3
    )
    assert not set(keys["colour"]) & set(keys["tasks"] + keys["budgets"])
    assert len(set(keys["bars"]) & set(keys["budgets"])) == 12
    assert len(set(keys["switches"]) - set(keys["bars"])) == 5 * 2 * 3


def test_a_line_that_was_cut_off_is_left_out_and_disturbs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert lines.read(path) == []
    for number in range(3):
        lines.append(path, {"number": number})
    path.write_bytes(path.read_bytes()[:-4])
    lines.append(path, {"number": 3})
    assert [row["number"] for row in lines.read(path)] == [0, 1, 3]


def test_what_is_finished_is_not_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Cell] = []
    monkeypatch.setattr(study, "cells", lambda part: list(cells(part))[:5])
    monkeypatch.setattr(study, "play", lambda cell: played.append(cell) or row_of(cell, 1.0))
    path = tmp_path / "study.jsonl"
    monkeypatch.setattr("sys.argv", ["study.py", "--part", "bars", "--output", str(path)])
    study.main()
    first = played.copy()
    kept = [json.dumps(row) for row in lines.read(path) if row.get("seed") != 1]
    path.write_text("\n".join(kept) + "\n")
    study.main()
    assert len(first) == 5 and played[5:] == [cell for cell in first if cell.seed == 1]
    assert {key_of(row) for row in lines.read(path) if "return" in row} == {c.key for c in first}


def row_of(cell: Cell, value: float) -> dict[str, Any]:
    return {**vars(cell), "rollouts": 120, "return": value, "steps": 1, "cpu_seconds": 2.0}


def test_tables_show_mean_error_number_and_cost() -> None:
    chosen = settings("icem", 120)
    rows = [row_of(Cell("cheetah-run", "icem", chosen, seed), 90.0 + 10 * seed) for seed in (0, 2)]
    tables = list(report.study_tables(report.Episodes([*rows, {"circumstances": {}}])))
    line = next(line for line in tables[0].splitlines() if "cheetah-run | iCEM" in line)
    assert line == "| cheetah-run | iCEM | - | 100 ± 10 (2), 2 s | - | - |"


def test_a_share_counts_pairs_of_episodes() -> None:
    reference = {("run", i): 100.0 + 10 * i for i in range(5)}
    assert report.ratio({k: 0.5 * v for k, v in reference.items()}, reference) == (0.5, 0.0)
    assert report.claim(reference, reference).startswith("holds, 1.00")
    assert report.claim({k: 0.5 * v for k, v in reference.items()}, reference).startswith(
        "does not hold"
    )
    noisy = {("run", i): value for i, value in enumerate((20.0, 200.0, 20.0, 200.0, 150.0))}
    assert report.claim(noisy, reference).startswith("undecided")


def test_the_figure_is_drawn_from_what_there_is(tmp_path: Path) -> None:
    rows = [row_of(cell, 10.0 * cell.seed) for cell in cells("bars")]
    report.draw(report.Episodes(rows), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_an_episode_is_played_to_its_end_and_again_the_same() -> None:
    pytest.importorskip("dm_control", reason="needs the train extra")
    cell = Cell("cartpole-swingup", "icem", settings("icem", 30), 1)
    one, other = study.play(cell, control_steps=44), study.play(cell, control_steps=44)
    assert one["steps"] == 6 and one["rollouts"] == 29 and 0.0 < one["return"] <= 44.0
    assert one["return"] == other["return"] and key_of(one) == cell.key
