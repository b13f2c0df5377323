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
      busy: seconds of CPU time that all processes of the machine used, on all cores.
      own: those that this process used.
      queued: seconds for which threads of this process waited for a core, of all threads.
    """

    seconds: float
    load: float | None = None
    stolen: float | None = None
    throttled: float | None = None
    busy: float | None = None
    own: float | None = None
    queued: float | None = None

    @staticmethod
    def now(root: Path = _SYSTEM) -> State:
        """Reads the present state; `root` is the folder that `proc` and `sys` are in."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        seconds, own = time.perf_counter(), time.process_time()
        stolen, throttled = _stolen(root), _throttled(root)
        return State(seconds, load, stolen, throttled, _busy(root), own, _queued(root))


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
    numbers = _numbers(root)
    return numbers[7] if numbers else None


def _busy(root: Path) -> float | None:
    """Adds the times of user, nice, system, irq and softirq of that line."""
    numbers = _numbers(root)
    return sum(numbers[i] for i in (0, 1, 2, 5, 6)) if numbers else None


def _numbers(root: Path) -> list[float]:
    """Returns the seconds of the first line of /proc/stat; none where it has too few."""
    words = _read(root / "proc/stat").partition("\n")[0].split()[1:]
    tick = os.sysconf("SC_CLK_TCK")
    return [int(word) / tick for word in words] if len(words) > 7 else []


def _queued(root: Path) -> float | None:
    """Adds the second number of every thread's schedstat, nanoseconds in a queue for a core."""
    texts = [_read(path) for path in root.glob("proc/self/task/*/schedstat")]
    waited = [int(text.split()[1]) / 1e9 for text in texts if text]
    return sum(waited) if waited else None


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
