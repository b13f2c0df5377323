"""The choice of nvcc, and what it builds for; scripts stand for the nvccs of this world."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest
from processes import run

CMAKE = shutil.which("cmake")
MODULE = Path(__file__).resolve().parents[1] / "cmake" / "cuda.cmake"
pytestmark = [
    pytest.mark.skipif(CMAKE is None, reason="no cmake"),
    pytest.mark.skipif(not MODULE.is_file(), reason="no source tree"),
]

ALL = "80-real 80-virtual 90a-real 100-real 120-real 120-virtual"
OLDER = "80-real 80-virtual 90a-real 90-virtual"
NEW = "compiles everything"
OLD = "refuses what came after it"
HOST = "refuses the host compiler"
BROKEN = "does not run"


def write_nvcc(folder: Path, kind: str) -> Path:
    """A script that answers as an nvcc of this kind does; a line per call goes into `calls`."""
    script = {
        NEW: "",
        OLD: "case \"$*\" in *compute_1[02]0*) echo \"nvcc fatal   : Unsupported gpu architecture "
        "'compute_100'\" >&2; exit 1;; esac",
        HOST: 'case "$*" in *-std*) echo "In file included from x.cu:"; echo "host_config.h:132:2: '
        'error: #error -- unsupported GNU version! gcc versions later than 10"; exit 1;; esac',
        BROKEN: "echo 'nvcc: error while loading shared libraries: libx.so' >&2; exit 127",
    }[kind]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    nvcc = folder / "nvcc"
    nvcc.write_text(
        f'#!/bin/sh\necho "$*" >> {shlex.quote(str(folder / "calls"))}\n{script}\n'
        'case "$*" in *--version*) echo "Cuda compilation tools, release 12.4, V12.4.131";; esac\n'
    )
    nvcc.chmod(0o755)
    return nvcc


def choose(
    tmp_path: Path, path: Path, cuda: str = "AUTO", archs: str = "", folder: str = "cmake",
    **environment: str,
) -> tuple[str, str, str]:  # fmt: skip
    """The chosen targets and status, and what CMake said if it refused.

    The module is copied into `folder`: no nvcc may be able to read the sources where they lie.
    """
    (tmp_path / folder).mkdir(exist_ok=True)
    module = shutil.copy(MODULE, tmp_path / folder)
    script = tmp_path / "choose.cmake"
    script.write_text(
        f'include("{module}")\nset(PLANET_CUDA "{cuda}")\nset(PLANET_CUDA_ARCHS "{archs}")\n'
        "planet_choose_cuda()\n"
        'message(STATUS "targets=${PLANET_CUDA_TARGETS}")\n'
        'message(STATUS "status=${PLANET_CUDA_STATUS}")\n'
    )
    work = tmp_path / "build"
    work.mkdir(exist_ok=True)
    assert CMAKE is not None
    variables = {"PATH": f"{path}:/usr/bin:/bin", "LANG": "C", **environment}
    done = run(CMAKE, "-P", script, status=None, cwd=work, env=variables)
    if done.returncode:
        return "", "", " ".join(done.stderr.split())
    lines = dict(line[3:].split("=", 1) for line in done.stdout.splitlines())
    return lines["targets"].replace(";", " "), lines["status"], ""


@pytest.mark.parametrize(
    ("kind", "cuda", "targets", "status"),
    [
        (NEW, "AUTO", ALL, f"CUDA kernels for {ALL}, by nvcc 12.4"),
        (NEW, "on", ALL, f"CUDA kernels for {ALL}, by nvcc 12.4"),
        (OLD, "AUTO", OLDER, "which does not compile for 100-real 120-real 120-virtual"),
        (OLD, "ON", OLDER, f"CUDA kernels for {OLDER}"),
        (HOST, "AUTO", "", "built without CUDA: nvcc 12.4"),
        (HOST, "", "", "cannot build the kernels: host_config.h:132:2: error"),
        (BROKEN, "AUTO", "", "does not run: nvcc: error while loading shared libraries: libx.so"),
        (NEW, "OFF", "", "planet was built without CUDA (PLANET_CUDA=OFF)"),
    ],
)  # fmt: skip
def test_kernels_are_built_for_what_the_nvcc_really_compiles(
    kind: str, cuda: str, targets: str, status: str, tmp_path: Path
) -> None:
    write_nvcc(tmp_path / "bin", kind)
    found, said, refused = choose(tmp_path, tmp_path / "bin", cuda)
    assert refused == ""
    assert found == targets
    assert status in said


@pytest.mark.parametrize("kind", [HOST, BROKEN, None])
def test_on_is_refused_by_an_nvcc_that_does_not_work(kind: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    if kind:
        write_nvcc(folder, kind)
    environment = {} if kind else {"CUDACXX": str(folder / "nvcc")}
    *_, refused = choose(tmp_path, folder, "ON", **environment)
    assert "PLANET_CUDA=ON, but" in refused
    assert "build without the CUDA kernels: PLANET_CUDA=OFF" in refused
    assert str(folder / "nvcc").replace(" ", "") in refused.replace(" ", "") or kind == HOST


def runs(code: str, major: int, minor: int) -> bool:
    """Whether a GPU of this compute capability has machine code in `code`, or can translate it."""
    number, kind = code.split("-")
    oldest, least = divmod(int(number.rstrip("a")), 10)
    if kind == "virtual":
        return (oldest, least) <= (major, minor)
    return oldest == major and (least == minor if number.endswith("a") else least <= minor)


@pytest.mark.parametrize(
    "capability",
    [(8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (11, 0), (12, 0), (12, 1), (13, 0)],
)
def test_every_gpu_since_ampere_has_code(capability: tuple[int, int]) -> None:
    for architectures in (ALL, OLDER):
        assert any(runs(code, *capability) for code in architectures.split())
    machine_code = [code for code in ALL.split() if code.endswith("real")]
    translated = capability in {(11, 0), (13, 0)}
    assert translated != any(runs(code, *capability) for code in machine_code)


def test_an_architecture_that_was_asked_for_is_never_dropped(tmp_path: Path) -> None:
    write_nvcc(tmp_path / "bin", OLD)
    assert choose(tmp_path, tmp_path / "bin", archs="80-real;90a")[0] == "80-real 90a"
    *_, refused = choose(tmp_path, tmp_path / "bin", archs="90a-real;100-real")
    assert "PLANET_CUDA_ARCHS: nvcc 12.4" in refused
    assert "does not compile for 100-real" in refused


@pytest.mark.parametrize(
    ("cuda", "archs", "message"),
    [
        ("yes", "", "PLANET_CUDA: expected AUTO, ON or OFF, got 'yes'"),
        ("OFF", "sm_90", "PLANET_CUDA_ARCHS: expected architectures as 90a-real;120-virtual, got "
         "'sm_90'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(cuda: str, archs: str, message: str, tmp_path: Path) -> None:
    assert message in choose(tmp_path, tmp_path, cuda, archs)[2]


def test_cudacxx_comes_before_path_and_paths_may_have_spaces(tmp_path: Path) -> None:
    write_nvcc(tmp_path / "bin", BROKEN)
    other = write_nvcc(tmp_path / "zwei Räume", NEW)
    chosen = {"CUDACXX": str(other), "CUDAHOSTCXX": "/x/c++"}
    targets, status, _ = choose(tmp_path, tmp_path / "bin", **chosen)
    assert targets == ALL
    assert "-ccbin=/x/c++" in (other.parent / "calls").read_text(encoding="utf-8")
    assert status.startswith("CUDA kernels for")


def test_a_folder_that_no_nvcc_can_read_is_named(tmp_path: Path) -> None:
    write_nvcc(tmp_path / "bin", NEW)
    _, status, _ = choose(tmp_path, tmp_path / "bin", folder="it's")
    assert status.endswith("in a folder whose path has a quote, comma, dollar or backslash")
    *_, refused = choose(tmp_path, tmp_path / "bin", "ON", folder="it's")
    assert "PLANET_CUDA=ON, but nvcc cannot" in refused


def test_the_probe_holds_what_the_kernels_need() -> None:
    """It includes the wrappers of machine instructions and of launches that kernels are made of."""
    probe = (MODULE.parent / "cuda_probe.cu").read_text(encoding="utf-8")
    assert '#include "cuda/intrinsics.cuh"' in probe
    assert '#include "cuda/launch.h"' in probe
    if nvcc := shutil.which("nvcc"):
        flags = ["-std=c++17", "-arch=sm_90a", "-c", "-o", os.devnull, "-I", "csrc"]
        run(nvcc, *flags, "cmake/cuda_probe.cu", cwd=MODULE.parents[1])
