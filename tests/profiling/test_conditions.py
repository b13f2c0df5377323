"""Facts that the system tells of disturbances, read from made-up files."""

from __future__ import annotations

import os
from pathlib import Path

from planet.profiling.conditions import State, governors


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_stolen_time_is_the_eighth_of_all_cores(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    write(tmp_path, **{"proc/stat": f"cpu  1 2 3 4 5 6 7 {3 * tick} 9 10\ncpu0 1 1 1 1 1 1 1 1\n"})
    assert State.now(tmp_path).stolen == 3.0


def test_cpu_time_of_all_processes_leaves_out_what_is_idle_or_stolen(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    words = " ".join(str(tick * seconds) for seconds in (1, 2, 4, 800, 1600, 8, 16, 3200, 1, 1))
    write(tmp_path, **{"proc/stat": f"cpu  {words}\n"})
    state = State.now(tmp_path)
    assert state.busy == 31.0
    assert state.own is not None and state.own > 0.0


def test_waiting_for_a_core_is_added_over_threads(tmp_path: Path) -> None:
    place = "proc/self/task/{}/schedstat"
    write(tmp_path, **{place.format(7): "9 250000000 4\n", place.format(8): "9 1500000000 4\n"})
    assert State.now(tmp_path).queued == 1.75


def test_quota_is_read_of_the_own_group(tmp_path: Path) -> None:
    stat = "usage_usec 9\nthrottled_usec {}\n"
    write(
        tmp_path,
        **{
            "proc/self/cgroup": "1:cpu:/old\n0::/box/inner\n",
            "sys/fs/cgroup/box/inner/cpu.stat": stat.format(2_500_000),
            "sys/fs/cgroup/cpu.stat": stat.format(1),
        },
    )
    assert State.now(tmp_path).throttled == 2.5


def test_quota_of_a_container_is_that_of_the_root_it_sees(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "proc/self/cgroup": "0::/../elsewhere\n",
            "sys/fs/cgroup/cpu.stat": "throttled_usec 1000000\n",
        },
    )
    assert State.now(tmp_path).throttled == 1.0


def test_governors_are_named_once(tmp_path: Path) -> None:
    names = ("powersave", "performance", "powersave")
    for i, name in enumerate(names):
        place = f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_governor"
        write(tmp_path, **{place: f"{name}\n"})
    assert governors(tmp_path) == ("performance", "powersave")


def test_a_system_without_these_files_says_nothing(tmp_path: Path) -> None:
    state = State.now(tmp_path)
    assert state.stolen is state.throttled is state.busy is state.queued is None
    assert governors(tmp_path) == ()
