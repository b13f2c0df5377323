"""Lists the stages of the two runs: commands, limits, and what a failure switches off.

Limits are one and a half to two times what is expected of an H100 and 16 cores, not yet measured on
one; 7 s of each are imports. The tests are some 250: 40 s of processor time with the oracle on the
GPU, by ten workers, the longest test 5 s, after 15 s until all have begun.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from gpu.runner import Stage, Switch

BENCHMARKS = Path(__file__).parents[1]
NO_GPU, NO_PERSISTENT = "PLANET_NO_GPU", "PLANET_NO_PERSISTENT"
TOTALS = {"first": 285.0, "second": 315.0}
"""Seconds; what unpacks a bundle before it has the rest of 300 and 330."""


def script(name: str, *words: str) -> tuple[str, ...]:
    """A command that runs a program of the benchmarks on the device, with its results as JSON."""
    where = ("--device", "{device}", "--output", "{json}")
    return (sys.executable, str(BENCHMARKS / name), *where, *words)


SMOKE, PLANS = "gpu/smoke.py", "cem/on_gpu.py"
FACTS = Stage("facts", 25, script("gpu/facts.py"), switch=Switch(NO_GPU, status=3))
PORTABLE = Stage("smoke", 20, script(SMOKE, "--variants", "portable"))
PERSISTENT = Stage("persistent", 15, script(SMOKE, "--variants", "persistent"),
                   switch=Switch(NO_PERSISTENT), unless=(NO_PERSISTENT,))  # fmt: skip
FIRST = (
    FACTS,
    Stage("first_run", 20, script("gpu/first_run.py")),
    PORTABLE,
    replace(PERSISTENT, name="persistent_checked", site="PLANET_CHECKED_SITE"),
    PERSISTENT,
    Stage("tests", 60, script("gpu/device_tests.py", "--deselect", "too_little_memory")),
    Stage("plans", 50, script(PLANS, "--problems", "1", "64", "--seconds", "4")),
    Stage("memcheck", 40, script("gpu/sanitizer.py", "memcheck", "--variants", "portable")),
    Stage("render", 15, script("gpu/render_probe.py")),
    Stage("update", 25, script("gpu/update_probe.py")),
)  # fmt: skip
SECOND = (
    FACTS,
    PORTABLE,
    PERSISTENT,
    Stage("tests_again", 30, script("gpu/device_tests.py", "--again", "PLANET_AGAIN"),
          requires=("PLANET_AGAIN",)),
    Stage("sweep", 55, script(PLANS, "--problems", "1", "64", "8", "256", "--seconds", "5")),
    Stage("control_step", 25, script("control_step/bench.py", "--seconds", "8")),
    Stage("train", 50, script("gpu/train_slice.py")),
    Stage("jitter", 15, script(SMOKE, "--repeats", "40"), site="PLANET_JITTER_SITE"),
    Stage("memcheck_persistent", 30,
          script("gpu/sanitizer.py", "memcheck", "--variants", "persistent"),
          unless=(NO_PERSISTENT,)),
    Stage("too_little_memory", 15, script("gpu/device_tests.py", "--alone", "too_little_memory")),
    Stage("compile", 35, script(PLANS, "--problems", "1", "--seconds", "3", "--compile", "only")),
)  # fmt: skip
LISTS = {"first": FIRST, "second": SECOND}


def stages_of(which: str, device: str, patience: float = 1.0) -> list[Stage]:
    """The stages of a run.

    Args:
      which: "first" or "second".
      device: "cuda", or "cpu" for a trial of everything at small sizes.
      patience: times every limit, for a busy machine.
    """
    stages = []
    for stage in LISTS[which]:
        needs = () if stage is FACTS else (NO_GPU,)
        small = ("--quick",) if device == "cpu" else ()
        stages.append(
            replace(stage, limit=stage.limit * patience, unless=(*needs, *stage.unless),
                    command=(*stage.command, *small))
        )  # fmt: skip
    return stages
