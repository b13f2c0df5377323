"""Writes profiles in the file form of pyperf, and reads them.

A benchmark of pyperf holds the wall times of one stage of one policy, so that `python -m pyperf
stats FILE`, `hist` and `compare_to` work on it. pyperf has no room for CPU times, iterations of a
plan and lists of facts: they are beside the benchmarks, under "planet", which pyperf passes over.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from planet.profiling.conditions import Conditions, State
from planet.profiling.disturbances import disturbances
from planet.profiling.latency import Stage
from planet.profiling.result import Comparison, Profile
from planet.storage.atomic import atomic_write, read_file

_FORMAT = 1
_WRONG = (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError)
_LEAST = 1e-9  # seconds; pyperf takes no zeros
_STEPS = ("iterations", "starts", "lateness", "preemptions")  # fields with a value per step
_SHARED = ("machine", "run", "rate_hz", "warmup")  # fields that all profiles have alike


def save_profile(comparison: Comparison, path: Path) -> None:
    """Writes or replaces a file, atomically.

    Raises:
      ImportError: pyperf is missing.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    import pyperf

    metadata = _metadata(comparison)
    benchmarks = [
        pyperf.Benchmark(
            [pyperf.Run(_seconds(stage.milliseconds), collect_metadata=False,
                        metadata={**metadata, "name": _benchmark(name, stage.name)})]
        )
        for name, profile in comparison.profiles.items()
        for stage in profile.stages
    ]  # fmt: skip
    text = io.StringIO()
    pyperf.BenchmarkSuite(benchmarks).dump(text)
    content = {**json.loads(text.getvalue()), "planet": _document(comparison)}
    with atomic_write(path) as file:
        file.write((json.dumps(content, separators=(",", ":")) + "\n").encode())


def load_profile(path: Path) -> Comparison:
    """Reads a file that `save_profile` wrote.

    Raises:
      ImportError: pyperf is missing.
      OSError: the file cannot be read.
      ValueError: it holds something else; the message names the file.
    """
    import pyperf

    content = read_file(path)
    try:
        suite = pyperf.BenchmarkSuite.loads(content.decode())
        return _parse(suite, json.loads(content)["planet"])
    except _WRONG as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path}: expected a profile as `planet profile --json` writes it ({reason})"
        ) from error


def _metadata(comparison: Comparison) -> dict[str, Any]:
    """Returns what pyperf knows of machine and Python, and where the figures come from."""
    import pyperf

    source = {k: v for k, v in comparison.source.items() if v is not None}
    own = {"date": "date", "command": "command", "version": "planet_version"}
    named = {own.get(name, f"planet_{name}"): value for name, value in source.items()}
    return {**pyperf.Run((1.0,)).get_metadata(), "unit": "second", **named}


def _document(comparison: Comparison) -> dict[str, Any]:
    first = comparison.first
    conditions = comparison.conditions
    return {
        "format": _FORMAT,
        "source": dict(comparison.source),
        **{name: getattr(first, name) for name in _SHARED},
        "conditions": None if conditions is None else asdict(conditions),
        "warnings": disturbances(comparison),
        "planners": {name: _planner(profile) for name, profile in comparison.profiles.items()},
    }


def _planner(profile: Profile) -> dict[str, Any]:
    return {
        "plan": profile.plan,
        "compute": profile.compute,
        "missed": profile.missed,
        "summary": {stage.name: stage.summary() for stage in profile.stages},
        **{name: getattr(profile, name) for name in _STEPS},
        "cpu_seconds": {s.name: _seconds(s.cpu_milliseconds, 0.0) for s in profile.stages},
        "rounds": [
            {
                stage.name: {
                    "seconds": _seconds(stage.milliseconds, 0.0),
                    "cpu_seconds": _seconds(stage.cpu_milliseconds, 0.0),
                }
                for stage in stages
            }
            for stages in profile.rounds
        ],
    }


def _parse(suite: Any, document: dict[str, Any]) -> Comparison:
    if document["format"] != _FORMAT:
        raise ValueError(f"expected format {_FORMAT}, got {document['format']}")
    shared = {name: document[name] for name in _SHARED}
    _tables(document, "source", "machine", "planners")
    if shared["run"] is not None:
        _tables(document, "run")
        if "task" not in shared["run"]:
            raise KeyError("task")
    profiles = {}
    for name, planner in document["planners"].items():
        _tables(planner, "plan", "compute")
        stages = tuple(
            _stage(stage, suite.get_benchmark(_benchmark(name, stage)).get_values(), cpu)
            for stage, cpu in planner["cpu_seconds"].items()
        )
        if stages[0].name != "act":
            raise ValueError(f"expected act before all stages, got {stages[0].name}")
        rounds = tuple(
            tuple(_stage(n, t["seconds"], t["cpu_seconds"]) for n, t in stages.items())
            for stages in planner["rounds"]
        )
        own: dict[str, Any] = {field: tuple(planner[field]) for field in _STEPS}
        facts = {**own, **shared, "plan": planner["plan"], "compute": planner["compute"]}
        profiles[name] = Profile(stages, rounds=rounds, **facts)
    found = document["conditions"]
    conditions = found and Conditions(
        State(**found.pop("before")), State(**found.pop("after")),
        governors=tuple(found.pop("governors")), **found,
    )  # fmt: skip
    return Comparison(profiles, conditions, document["source"])


def _tables(document: dict[str, Any], *names: str) -> None:
    for name in names:
        if not isinstance(document[name], dict):
            raise TypeError(f"{name}: expected an object, got {document[name]!r}")


def _benchmark(planner: str, stage: str) -> str:
    return f"{planner} {stage}".strip()


def _seconds(milliseconds: tuple[float, ...], least: float = _LEAST) -> list[float]:
    """Rounds to nanoseconds, the clock's own steps."""
    return [max(least, round(value / 1e3, 9)) for value in milliseconds]


def _stage(name: str, seconds: Any, cpu_seconds: Any) -> Stage:
    walls, cpus = (tuple(1e3 * value for value in times) for times in (seconds, cpu_seconds))
    if not len(walls) == len(cpus) > 0:
        raise ValueError(f"{name}: expected as many CPU times as wall times")
    return Stage(name, walls, cpus)
