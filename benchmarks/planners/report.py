"""Makes tables and figure of what `study.py` and `learned.py` have played so far.

    python benchmarks/planners/report.py [--study FILE] [--learned FILE] [--figure FILE]

Prints tables in Markdown: mean return +- standard error (episodes) and CPU seconds of an episode.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import RESULTS
from planners import lines
from planners.budgets import PLANNERS, settings, switched
from planners.learned import GRADIENT, REFERENCE, ROLLOUTS
from planners.study import FEW, MAIN, MANY, REACHER, SLOW, SLOWER, TENTH, Cell, key_of

FOLDER = Path(__file__).parents[2]
NAMES = {"icem": "iCEM", "cem": "CEM", "mppi": "MPPI", "shooting": "shooting"}
COLOURS = {"icem": "#d1495b", "cem": "#1b6ca8", "mppi": "#2a9d5c", "shooting": "#6b6b6b"}
PAPER = {
    "cartpole-balance": 998, "cartpole-swingup": 850, "reacher-easy": 964, "finger-spin": 825,
    "cheetah-run": 656, "ball_in_cup-catch": 993, "walker-walk": 994,
}  # fmt: skip
"""CEM with 10,000 rollouts per control step on the simulator (Hafner et al., arXiv v5, Table 1)."""
Row = dict[str, Any]


class Episodes:
    """Finds the episodes of a cell whatever its seed."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[tuple[Any, ...], dict[int, Row]] = defaultdict(dict)
        for row in rows:
            if "return" in row:
                self._rows[key_of(row)[:-1]][row["seed"]] = row

    def of(self, task: str, planner: str, chosen: Mapping[str, Any]) -> list[Row]:
        """Returns a row per seed."""
        return list(self._rows.get(Cell(task, planner, dict(chosen), 0).key[:-1], {}).values())


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Averages; the standard error is of the sample (n - 1), NaN of one."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(np.mean(values)), float(error)


def told(rows: Sequence[Row], seconds: bool = True) -> str:
    """Writes a cell of a table."""
    if not rows:
        return "-"
    mean, error = spread([row["return"] for row in rows])
    text = f"{mean:.0f} ± {error:.0f} ({len(rows)})" if len(rows) > 1 else f"{mean:.0f} (1)"
    cost = np.mean([row["cpu_seconds"] for row in rows])
    return f"{text}, {cost:.0f} s" if seconds else text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a table in Markdown."""
    out = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in out) + "\n"


def study_tables(episodes: Episodes) -> Iterable[str]:
    """Writes the tables of the true simulator."""
    budgets = (*FEW, MANY)
    rows = [
        [task, NAMES[planner]]
        + [told(episodes.of(task, planner, settings(planner, count))) for count in budgets]
        for task in MAIN
        for planner in PLANNERS
    ]
    yield table(["task", "planner", *(f"{count:,} rollouts" for count in budgets)], rows)
    rows = [
        [task]
        + [told(episodes.of(task, planner, settings(planner, 120))) for planner in PLANNERS]
        + [str(PAPER[task])]
        for task in PAPER
    ]
    yield table(["task, 120 rollouts", *NAMES.values(), "paper: CEM, 10,000 rollouts"], rows)
    yield f"reacher-easy, CEM 100 x 5: {told(episodes.of('reacher-easy', 'cem', REACHER))}\n"
    grid = [(task, rollouts) for task in MAIN[:2] for rollouts in TENTH]
    rows = [
        [name]
        + [
            told(episodes.of(task, "cem", settings("cem", n) | (TENTH[n] if few else {})), False)
            for task, n in grid
        ]
        for name, few in (("quarter", False), ("tenth", True))
    ]
    yield table(["CEM, elites", *(f"{task}, {n}" for task, n in grid)], rows)
    icem = settings("icem", 120)
    rows = [
        [name] + [told(episodes.of(task, "icem", chosen), False) for task in SLOWER]
        for name, chosen in (("0.25", icem), ("2.5", icem | SLOW))
    ]
    yield table(["iCEM, colour", *SLOWER], rows)
    rows = [
        [name] + [told(episodes.of(task, planner, chosen), False) for task in MAIN[:2]]
        for name, (planner, chosen) in switched().items()
    ]
    yield table(["120 rollouts", *MAIN[:2]], rows)


def learned_tables(rows: Sequence[Row]) -> Iterable[str]:
    """Writes returns on learned models, and whether iCEM with 150 rollouts holds its claim."""
    rows = [row for row in rows if "return" in row]
    for task in dict.fromkeys(row["task"] for row in rows):
        yield f"{task}:\n"
        yield from learned_table([row for row in rows if row["task"] == task])


def learned_table(rows: Sequence[Row]) -> Iterable[str]:
    """Writes those of a task's agents."""
    runs = sorted({row["run"] for row in rows})
    arms = [REFERENCE, *((p, settings(p, count)) for count in sorted(ROLLOUTS) for p in PLANNERS)]
    arms += GRADIENT
    reference = returns_of(rows, *REFERENCE)
    out = []
    for planner, chosen in arms:
        mine = returns_of(rows, planner, chosen)
        if not mine:
            continue
        by_run = [[value for key, value in mine.items() if key[0] == run] for run in runs]
        share = "{:.2f} ± {:.2f}".format(*ratio(mine, reference))
        count = next(row["rollouts"] for row in rows if arm_of(row) == (planner, chosen))
        cost = np.mean([row["cpu_seconds"] for row in rows if arm_of(row) == (planner, chosen)])
        means = ["{:.0f} ± {:.0f} ({})".format(*spread(part), len(part)) if part else "-"
                 for part in by_run]  # fmt: skip
        out.append([NAMES.get(planner, planner), f"{count:,}", *means, share, f"{cost:.1f} s"])
    share = "share of CEM 300 x 5"
    yield table(["planner", "rollouts", *runs, share, "CPU per episode"], out)
    for count in (150, 120):
        if mine := returns_of(rows, "icem", settings("icem", count)):
            verdict = claim(mine, reference)
            yield f"iCEM with {count} returns at least {LEAST} of CEM 300 x 5: {verdict}\n"


LEAST = 0.9


def arm_of(row: Row) -> tuple[str, dict[str, Any]]:
    """Returns planner and settings of a row."""
    return row["planner"], row["settings"]


def returns_of(rows: Iterable[Row], planner: str, chosen: Mapping[str, Any]) -> dict[Any, float]:
    """Returns the returns of a planner by run and episode."""
    found = (row for row in rows if arm_of(row) == (planner, chosen))
    return {(row["run"], row["seed"]): row["return"] for row in found}


def ratio(mine: Mapping[Any, float], reference: Mapping[Any, float]) -> tuple[float, float]:
    """Divides mean returns of the episodes that both have; the standard error counts pairs."""
    pairs = [(mine[key], reference[key]) for key in mine.keys() & reference.keys()]
    if not pairs:
        return float("nan"), float("nan")
    ours, theirs = np.array(pairs).T
    share = ours.mean() / theirs.mean()
    return float(share), spread(ours - share * theirs)[1] / theirs.mean()


def claim(mine: Mapping[Any, float], reference: Mapping[Any, float]) -> str:
    """Judges by two standard errors whether a share is at least `LEAST`."""
    share, error = ratio(mine, reference)
    if share - 2 * error >= LEAST:
        verdict = "holds"
    else:
        verdict = "does not hold" if share + 2 * error < LEAST else "undecided"
    runs = sorted({run for run, _ in mine})
    parts = [{key: mine[key] for key in mine if key[0] == run} for run in runs]
    each = ", ".join(f"{ratio(part, reference)[0]:.2f}" for part in parts)
    return f"{verdict}, {share:.2f} ± {error:.2f}, {len(mine)} episodes (by agent {each})"


def draw(episodes: Episodes, path: Path) -> None:
    """Draws return against rollouts per control step, a panel per task."""
    figure, panels = plt.subplots(1, len(MAIN), figsize=(11, 3.6), layout="constrained")
    for axes, task in zip(panels, MAIN, strict=True):
        for planner in PLANNERS:
            points = []
            for count in (*FEW, MANY):
                found = episodes.of(task, planner, settings(planner, count))
                if len(found) > 1:  # one episode beside means of several would mislead
                    points.append((count, *spread([row["return"] for row in found])))
            if points:
                counts, means, errors = np.array(points).T
                axes.errorbar(
                    counts, means, errors, fmt="o-", capsize=3, markersize=5,
                    color=COLOURS[planner], label=NAMES[planner],
                )  # fmt: skip
        paper = "paper, CEM with 10,000"
        axes.axhline(PAPER[task], color="black", linestyle=":", linewidth=1, label=paper)
        axes.set(title=f"{task} (paper {PAPER[task]})", xlabel="rollouts per control step")
        axes.set(xscale="log", ylim=(0, 1050))
        axes.set_xticks([*FEW, MANY], [f"{count:,}" for count in (*FEW, MANY)])
        axes.minorticks_off()
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("return of an episode")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, default=RESULTS / "planners.jsonl")
    parser.add_argument("--learned", type=Path, default=RESULTS / "planners_learned.jsonl")
    parser.add_argument("--figure", type=Path, default=FOLDER / "docs" / "studies" / "planners.png")
    options = parser.parse_args()
    episodes = Episodes(lines.read(options.study))
    print("\n".join(study_tables(episodes)))
    print("\n".join(learned_tables(lines.read(options.learned))))
    draw(episodes, options.figure)


if __name__ == "__main__":
    main()
