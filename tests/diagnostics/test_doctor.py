"""The doctor: finds what is missing or broken, and says how to fix it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import FUSED_MISSING, fused_is_built

from planet import build_info
from planet.cli import main
from planet.diagnostics import doctor, self_test
from planet.diagnostics.doctor import Problem, Report, examine, render_test
from planet.diagnostics.packages import broken_packages
from planet.errors import advice
from planet.ops import fused
from planet.ops.extension import Missing

needs_fused = pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)
RENDERED = {
    "backend": "egl", "renderer": "llvmpipe (LLVM 15.0.6, 256 bits)",
    "frames": {"fast": {"median": 0.5, "p95": 0.75, "cpu": 0.5}},
}  # fmt: skip


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine where everything is installed and renders; the test changes what it finds."""
    found = dict(RENDERED)
    monkeypatch.setattr(doctor, "render_test", lambda: found)
    monkeypatch.setattr(doctor, "missing_packages", set)
    monkeypatch.setattr(doctor, "broken_packages", lambda modules, seconds: {})
    monkeypatch.setattr(doctor, "version", lambda name: "3.17.0")
    return found


def test_report_lists_facts_warnings_and_problems() -> None:
    report = Report([("planet", "0.1"), ("", "more")], ["slow"], [Problem("no GL", "apt-get x")])
    text = report.text()
    assert not report.healthy
    assert "planet     0.1\n           more\n" in text
    assert "warning: slow" in text and "problem: no GL\n  fix:\n    apt-get x" in text


@needs_fused
def test_healthy_machine_has_no_problems(
    rendered: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for fact in (
        f"torch      {torch.__version__}", "instruction sets: fp32 ", ", int8 ", ", bf16 ", "CUDA",
        "fused planner agrees with the reference", "numpy", "mujoco 3.17.0",
        "rendering  egl, llvmpipe", "fast 0.50 (p95 0.75, CPU 0.50)", "everything",
    ):  # fmt: skip
        assert fact in text, fact


@needs_fused
def test_instruction_sets_and_their_cap_are_named(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANET_CPU_ISA", "avx2")  # the extension is loaded, only the report sees it
    monkeypatch.setattr(doctor, "build_info", lambda: build_info() | {
        "isas": ["baseline", "avx2"], "fp32": "avx2", "int8": None, "int8_reason": "needs more",
        "bf16": "amx", "refused": {"avx512": "old", "avx512vnni": "old", "amx": "a sandbox"},
    })  # fmt: skip
    assert {
        "instruction sets: fp32 avx2, int8 not available, bf16 amx", "int8 needs more",
        "this processor runs baseline, avx2, capped by PLANET_CPU_ISA=avx2",
        "it does not run avx512, avx512vnni: old", "it does not run amx: a sandbox",
    } <= {text for _, text in examine().facts}  # fmt: skip


def test_missing_extension_is_a_problem(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("planet.ops.fused._C", None)
    why = Missing("it is not built", "pip install .")
    monkeypatch.setattr("planet.ops.extension.missing", lambda: why)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "cannot be loaded: it is not built\n  fix:\n    pip install .\n" in text


@needs_fused
def test_wrong_planner_is_a_problem(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "planet.ops.fused.rollout_returns",
        lambda weights, latent, actions, noise, precision: actions[0, ..., 0],
    )
    report = examine()
    assert not report.healthy
    assert "disagrees with the reference" in report.problems[0].what
    assert "--imagination.backend reference" in report.problems[0].fix


@needs_fused
def test_wrong_int8_alone_is_a_problem(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not build_info()["int8"]:
        pytest.skip("no int8 kernels")
    right = fused.rollout_returns

    def wrong(*arguments: Any, precision: str) -> torch.Tensor:
        return right(*arguments, precision=precision) * (1.001 if precision == "int8" else 1.0)

    monkeypatch.setattr("planet.ops.fused.rollout_returns", wrong)
    report = examine()
    assert not report.healthy
    assert "FAILED" in report.problems[0].what and ", int8 7e-04" in report.problems[0].what


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build and a torch with CUDA, and a GPU; what runs there runs on the CPU."""
    info = build_info()
    cuda = {"compiled": True, "toolkit": "13.0", "architectures": "90a-real", "devices": 1,
            "status": "ok"}  # fmt: skip
    monkeypatch.setattr(doctor, "build_info", lambda: info | {"cuda": cuda})
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *device: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    right = self_test.compare
    monkeypatch.setattr(doctor, "compare", lambda device: right("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: (9, 0))
    weights = SimpleNamespace(to=lambda device: device)
    monkeypatch.setattr(doctor, "random_weights", lambda *sizes: weights)
    monkeypatch.setattr(fused, "persistent_clusters", lambda *weights, **plan: 31)


@needs_fused
def test_a_gpu_is_tried_and_what_it_serves_is_named(rendered: dict[str, Any], gpu: None) -> None:
    report = examine()
    texts = [text for _, text in report.facts]
    assert any("CUDA planner on NVIDIA H200 agrees with the reference" in text for text in texts)
    wanted = "persistent plans in 31 clusters of 4, 992 candidates a wave"
    assert ("GPU", f"NVIDIA H200, compute capability 9.0, {wanted}") in report.facts
    assert report.healthy


@needs_fused
def test_a_gpu_without_persistent_plans_says_why(
    rendered: dict[str, Any], gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*weights: Any, **plan: Any) -> int:
        raise ValueError("variant: 'persistent' does not serve this plan: too old")

    monkeypatch.setattr(fused, "persistent_clusters", refuse)
    texts = [text for title, text in examine().facts if title == "GPU"]
    assert texts[0].endswith(
        "no persistent plans (variant: 'persistent' does not serve this plan: too old)"
    )


@needs_fused
def test_a_gpu_that_fails_is_a_problem(
    rendered: dict[str, Any], gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = doctor.compare

    def fail(device: str) -> self_test.Agreement:
        if device == "cuda":
            raise RuntimeError("no kernel image")
        return right(device)

    monkeypatch.setattr(doctor, "compare", fail)
    (problem,) = examine().problems
    assert problem.what == "the CUDA planner on NVIDIA H200 does not run: no kernel image"
    assert "--imagination.backend reference" in problem.fix


@needs_fused
def test_a_build_with_cuda_under_a_torch_without_is_said(
    rendered: dict[str, Any], gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    fact = f"CUDA planner: not tried, torch {torch.__version__} has no CUDA"
    assert fact in [text for _, text in examine().facts]


@pytest.mark.parametrize(("precision", "error"), [("fp16", 1e-2), ("bf16", 1e-1), ("fp32", 1e-4)])
def test_every_precision_has_its_tolerance(precision: str, error: float) -> None:
    assert not self_test.Agreement({precision: error}, True).good
    assert self_test.Agreement({precision: error / 20}, True).good
    assert not self_test.Agreement({precision: error / 20}, False).good
    assert not self_test.Agreement({precision: float("nan")}, True).good


def test_missing_package_is_a_problem_with_the_extra(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "missing_packages", lambda: {"imageio_ffmpeg"})
    problem = examine().problems[-1]
    assert "imageio-ffmpeg" in problem.what and problem.fix == advice.install_extra()


def test_missing_tensorboard_is_a_warning(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "missing_packages", lambda: {"tensorboard"})
    report = examine()
    assert not [problem for problem in report.problems if "tensorboard" in problem.what]
    assert any("tensorboard is missing: metrics are written as JSON" in w for w in report.warnings)


def test_rendering_is_not_tried_without_mujoco(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "missing_packages", lambda: {"mujoco"})
    assert ("rendering", "not tried: packages are missing") in examine().facts


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 looks there first")
def test_a_user_s_script_is_not_taken_for_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the user started this')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("planet.diagnostics.packages._USED", {"imageio": "import json"})
    assert broken_packages(["imageio"], 300) == {}
    monkeypatch.setattr(doctor, "_RENDER_TEST", "import json; print(json.dumps({'error': 'x'}))")
    assert render_test() == {"error": "x"}


def test_a_broken_package_is_a_problem_and_a_broken_tensorboard_a_warning(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"tensorboard": "TypeError: x", "tyro": "KeyError: y"}
    monkeypatch.setattr(doctor, "broken_packages", lambda modules, seconds: broken)
    report = examine()
    assert any(
        "tensorboard" in w and "TypeError: x" in w and w.endswith(advice.repair("tensorboard"))
        for w in report.warnings
    )
    problem = report.problems[-1]
    assert "KeyError: y" in problem.what and problem.fix == advice.repair("tyro")


@pytest.mark.parametrize(
    "part", ["machine_facts", "build_info", "missing_packages", "render_test", "compare"]
)
def test_the_doctor_reports_what_it_cannot_examine(
    part: str, rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*arguments: Any) -> Any:
        raise LookupError("nobody expects this")

    monkeypatch.setattr(doctor, part, fail)
    if part == "compare" and not fused_is_built():
        pytest.skip(FUSED_MISSING)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "could not be examined (LookupError: nobody expects this)" in text
    assert "PLANET_TRACEBACK=1 " in text


@pytest.mark.parametrize(
    ("version", "fits"),
    [("3.17.0", True), ("3.20.1", True), ("3.16.2", False), ("4.0.0", False), ("3.x", True)],
)
def test_mujoco_must_suit_dm_control(
    version: str, fits: bool, rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: version)
    found = [problem for problem in examine().problems if "mujoco" in problem.what]
    assert [problem.fix for problem in found] == ([] if fits else [advice.install_extra()])


def test_missing_opengl_gives_the_apt_line(rendered: dict[str, Any]) -> None:
    rendered |= {"error": "no OpenGL library to render with", "fix": "apt-get install -y libegl1"}
    problem = examine().problems[-1]
    assert "no OpenGL library" in problem.what and problem.fix == "apt-get install -y libegl1"


def test_software_rendering_beside_a_gpu_is_a_warning(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(doctor, "machine_facts", lambda: dict.fromkeys(
        ("system", "processor", "cores", "load"), "x"))  # fmt: skip
    assert any("llvmpipe" in warning for warning in examine().warnings)


@pytest.mark.parametrize(
    ("program", "finding", "used", "other"),
    [
        ("import os; os.abort()", "ended by SIGABRT", None, "osmesa"),
        ("import os; os.kill(os.getpid(), 40)", "ended by signal 40", None, "osmesa"),
        ("import time; time.sleep(600)", "did not end within 1 s", "egl", "osmesa"),
        ("raise RuntimeError('no driver')", "RuntimeError: no driver", " OSMesa ", "egl"),
    ],
)
def test_crash_or_hang_of_the_driver_is_reported_with_the_other_library(
    program: str, finding: str, used: str | None, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    if used is not None:
        monkeypatch.setenv("MUJOCO_GL", used)
    monkeypatch.setattr(doctor, "_RENDER_TEST", program)
    found = render_test(seconds=1 if "sleep" in program else 1800)
    assert finding in found["error"]
    assert f"MUJOCO_GL={other} {advice.program()} doctor" in found["fix"]


def test_settings_of_the_rendering_are_shown(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "EGL")
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)  # MuJoCo's import sets it
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", "3")
    assert any("MUJOCO_GL='EGL', MUJOCO_EGL_DEVICE_ID='3'" in text for _, text in examine().facts)


def test_render_test_gives_the_finding_and_the_fix_of_that_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("dm_control", reason="rendering needs the train extra")
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    assert render_test() == {
        "error": "MUJOCO_GL: expected 'egl', 'osmesa' or no value, got 'vulkan'",
        "fix": "unset MUJOCO_GL",
    }


def test_render_test_measures_every_quality() -> None:
    pytest.importorskip("dm_control", reason="rendering needs the train extra")
    found = render_test()
    if "error" in found:
        pytest.skip(f"nothing renders here: {found['error']}")
    assert found["backend"] in ("egl", "osmesa") and found["renderer"]
    assert set(found["frames"]) == {"fast", "faithful", "reference"}
    assert all(frame["median"] > 0 for frame in found["frames"].values())


def test_doctor_takes_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--verbose"]) == 2
    assert "--verbose" in capsys.readouterr().err
    assert main(["doctor", "--help"]) == 0
    assert "planet doctor" in capsys.readouterr().out
    assert "planet.diagnostics.doctor" in sys.modules
