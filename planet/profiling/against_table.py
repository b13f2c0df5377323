"""Writes how profiles changed as text of at most 80 columns."""

from __future__ import annotations

import textwrap

from planet.acting.timeline import WHOLE
from planet.profiling.against import Change, changes, differences
from planet.profiling.result import Comparison
from planet.profiling.table import WIDTH, number, told, wrapped

_TITLES = f"{'':18}{'before':>10}{'now':>10}   {'ratio':24}"


def against_table(before: Comparison, now: Comparison, file: str) -> str:
    """Writes the ratios of now to before, what they also depend on, and a word for each.

    Args:
      before: what the file holds.
      now: what was measured, by the same planners.
      file: its name.
    """
    source = ", ".join(f"{k} {v}" for k, v in before.source.items() if k != "command" and v)
    lines = wrapped("against", f"{file} ({source})" if source else file)
    if found := differences(before, now):
        lines += wrapped("differs", f"{'; '.join(found)}. The ratios are of these, too.")
    lines += textwrap.wrap(
        "ratio: of now to before, in parentheses its 95 % confidence interval; undecided where "
        "this holds 1.", WIDTH,
    )  # fmt: skip
    for name, profile in now.profiles.items():
        rows = [_row(change) for change in changes(before.profiles[name], profile)]
        few = "no percentile has an interval in both: time more steps"
        lines += ["", *([name] if name else []), *([_TITLES, *rows] if rows else [few])]
    return "\n".join(line.rstrip() for line in lines)


def _row(change: Change) -> str:
    name = f"  {change.stage}" if change.stage in WHOLE else change.stage
    times = f"{number(change.before.value):>10}{number(change.now.value):>10}"
    label = f"{name} p{change.percentile}"
    return f"{label:18}{times}   {told(change.ratio):24}{change.verdict}"
