"""Reads what the system says about disturbances while something is timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = Path("/")


@dataclass(frozen=True)
class State:
    """Holds what the system says at one moment; None where it does not say.

    Attributes:
      seconds: of the wall's clock.
      load: threads that run or wait for a core, mean of the last minute.
      stolen: seconds of CPU time that the hypervisor gave to other machines, of all cores.
      throttled: seconds in which the process's group had used up its quota of CPU time.
    """

    seconds: float
    load: float | None = None
    stolen: float | None = None
    throttled: float | None = None

    @staticmethod
    def now(root: Path = _SYSTEM) -> State:
        """Reads the present state; `root` is the folder that `proc` and `sys` are in."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        return State(time.perf_counter(), load, _stolen(root), _throttled(root))


@dataclass(frozen=True)
class Conditions:
    """Holds what the system said before and after a measurement.

    Attributes:
      before: at its start, after the warm-up.
      after: at its end.
      cores: that the process may use.
      processors: of the whole machine.
      governors: of the cores' frequencies; none where the system does not say.
    """

    before: State
    after: State
    cores: int
    processors: int
    governors: tuple[str, ...] = ()


def governors(root: Path = _SYSTEM) -> tuple[str, ...]:
    """Returns the names of the governors that choose the cores' frequencies."""
    found = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({name for path in found if (name := _read(path).strip())}))


def _stolen(root: Path) -> float | None:
    """Reads the eighth number of the first line of /proc/stat."""
    words = _read(root / "proc/stat").partition("\n")[0].split()
    return int(words[8]) / os.sysconf("SC_CLK_TCK") if len(words) > 8 else None


def _throttled(root: Path) -> float | None:
    """Reads the process's own group, or the one that a container sees as the root."""
    group = _read(root / "proc/self/cgroup").rpartition("0::")[2].strip().lstrip("/")
    base = root / "sys/fs/cgroup"
    text = _read(base / group / "cpu.stat") or _read(base / "cpu.stat")
    values = dict(line.split() for line in text.splitlines())
    return int(values["throttled_usec"]) / 1e6 if "throttled_usec" in values else None


def _read(path: Path) -> str:
    """Returns a file's text, none where the system has no such file or does not let it be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
