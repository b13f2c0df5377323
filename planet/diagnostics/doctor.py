"""Finds out what is installed and what works, and names the command that fixes the rest."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from planet.config import ModelConfig
from planet.diagnostics.build import __version__, build_info
from planet.diagnostics.machine import machine_facts
from planet.diagnostics.packages import (
    EXTRA,
    OPTIONAL,
    broken_packages,
    missing_packages,
    python_environment,
    version,
)
from planet.diagnostics.self_test import Agreement, compare, persistent_plans
from planet.errors import advice
from planet.ops.instruction_sets import grouped
from planet.ops.kernels import SERVED
from planet.weights.random import random_weights

_RENDER_SECONDS = 120.0
_IMPORT_SECONDS = 120.0
_FRAMES = {"fast": 30, "faithful": 30, "reference": 5}  # the last takes 30 to 120 ms per frame
_RENDER_TEST = f"""
import json
from planet.envs import RenderingUnavailable
from planet.envs.measure import measure_frame_ms, renderer_info
try:
    out = renderer_info()
    out["frames"] = {{q: measure_frame_ms(quality=q, frames=n) for q, n in {_FRAMES!r}.items()}}
except RenderingUnavailable as error:
    out = {{"error": error.what, "fix": error.fix}}
except Exception as error:
    out = {{"error": f"{{type(error).__name__}}: {{error}}", "fix": ""}}
print("\\n" + json.dumps(out))
"""


@dataclass(frozen=True)
class Problem:
    """Names something needed that is missing or broken.

    Attributes:
      what: the finding.
      fix: the command that fixes it, or what to try.
    """

    what: str
    fix: str


@dataclass
class Report:
    """Collects the findings of `examine`.

    Attributes:
      facts: title and text of each line.
      warnings: what works, but not as well as it could.
      problems: what is missing or broken.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def fact(self, title: str, text: str) -> None:
        """Adds a line; one without a title goes on with the last one's."""
        self.facts.append((title, text))

    def problem(self, what: str, fix: str) -> None:
        """Adds a problem."""
        self.problems.append(Problem(what, fix))

    @property
    def healthy(self) -> bool:
        """Tells whether everything needed is there and works."""
        return not self.problems

    def text(self) -> str:
        """Writes the report for people."""
        lines = [f"{title:11}{text}" for title, text in self.facts]
        lines += [f"\nwarning: {warning}" for warning in self.warnings]
        for problem in self.problems:
            lines.append(f"\nproblem: {problem.what}\n  fix:\n    {problem.fix}")
        lines.append("" if self.problems else "\neverything that is needed is there and works")
        return "\n".join(lines).rstrip()


def examine() -> Report:
    """Looks at everything that training and planning need, and tries it."""
    report = Report()
    _guard(report, "machine", _examine_machine)
    _guard(report, "torch", _examine_torch)
    _guard(report, "extension", _examine_extension)
    _guard(report, "packages", _examine_packages)
    _guard(report, "rendering", _examine_rendering)
    return report


def _guard(report: Report, title: str, part: Callable[[Report], None]) -> None:
    """Examines one part; what it raises, whatever that is, becomes a finding."""
    try:
        part(report)
    except Exception as error:
        if os.environ.get("PLANET_TRACEBACK"):
            raise
        what = f"{type(error).__name__}: {error}"
        report.fact(title, f"FAILED: {what}")
        fix = f"PLANET_TRACEBACK=1 {advice.program()} doctor   (shows where it fails)"
        report.problem(f"{title} could not be examined ({what})", fix)


def _examine_machine(report: Report) -> None:
    machine = machine_facts()
    report.fact(
        "planet",
        f"{__version__}, Python {platform.python_version()}, {machine['system']}, "
        f"{machine['processor']}, {machine['cores']} cores, load {machine['load']}",
    )
    root = advice.source_folder()
    place = f"runs from the source folder {root}" if root else f"installed in {advice.PACKAGE}"
    report.fact("", f"{place}; Python is {sys.executable}")


def _examine_torch(report: Report) -> None:
    cuda = "no CUDA in this build"
    if torch.version.cuda:
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        cuda = f"CUDA {torch.version.cuda}, devices: {', '.join(names) or 'none'}"
    report.fact("torch", f"{torch.__version__}, {torch.get_num_threads()} threads, {cuda}")


def _examine_extension(report: Report) -> None:
    info = build_info()
    if not info["extension"]:
        report.fact("extension", f"missing: {info['reason']}")
        what = f"the compiled planner (backend fused) cannot be loaded: {info['reason']}"
        report.problem(what, info["remedy"])
        return
    report.fact(
        "extension",
        f"{info['version']}, {info['compiler']}, torch headers {info['torch_headers']}, "
        f"{info['threads']} threads",
    )
    report.fact("", f"file {info['file']}")
    _report_instruction_sets(report, info)
    cuda = info["cuda"]
    built = f"CUDA {cuda['toolkit']} for {cuda['architectures']}, " if cuda["compiled"] else ""
    report.fact("", f"{built}{cuda['devices']} CUDA devices, {cuda['status']}")
    if torch.cuda.is_available() and not cuda["compiled"]:
        report.warnings.append(
            "torch sees a CUDA device, but planet was built without CUDA; with the CUDA toolkit on "
            f"PATH reinstall from source: {advice.rebuild(cuda=True)}"
        )
    _try_planner(report, info)
    if cuda["compiled"] and cuda["devices"] and torch.version.cuda:
        _try_cuda_planner(report)
    elif cuda["compiled"] and not torch.version.cuda:
        report.fact("", f"CUDA planner: not tried, torch {torch.__version__} has no CUDA")


def _report_instruction_sets(report: Report, info: dict[str, Any]) -> None:
    cap = f", capped by PLANET_CPU_ISA={info['isa_cap']}" if info["isa_cap"] else ""
    served = SERVED["cpu"]["precision"]
    sets = [f"{name} {info[name] or 'not available'}" for name in served]
    report.fact("", f"instruction sets: {', '.join(sets)}")
    report.fact("", f"this processor runs {', '.join(info['isas'])}{cap}")
    for name in served:
        if info[name] is None:
            report.fact("", f"{name} {info[f'{name}_reason']}")
    for reason, *names in grouped(info["refused"]):
        report.fact("", f"it does not run {', '.join(names)}: {reason}")


def _try_planner(report: Report, info: dict[str, Any]) -> None:
    isas = " or ".join(f"PLANET_CPU_ISA={isa}" for isa in info["isas"])
    retreat = f"try {isas}, or --imagination.backend reference"
    _judge(report, "fused planner", compare("cpu"), retreat)


def _try_cuda_planner(report: Report) -> None:
    gpu = torch.cuda.get_device_name()
    name = f"CUDA planner on {gpu}"
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    retreat = "try --train.device cpu, or --imagination.backend reference"
    try:
        served = persistent_plans(random_weights(ModelConfig(), 6).to("cuda"))
        report.fact("GPU", f"{gpu}, compute capability {capability}, {served}")
        agreement = compare("cuda")
    except (RuntimeError, ValueError) as error:
        report.fact("", f"{name} FAILED: {error}")
        report.problem(f"the {name} does not run: {error}", retreat)
        return
    _judge(report, name, agreement, retreat)


def _judge(report: Report, name: str, agreement: Agreement, retreat: str) -> None:
    verdict = f"{name} agrees with the reference, {agreement}"
    if not agreement.good:
        verdict = f"{name} FAILED: {agreement}"
        fix = f"{advice.rebuild()}   (if it stays, {retreat})"
        report.problem(f"the compiled planner disagrees with the reference ({verdict})", fix)
    report.fact("self-test", verdict)


def _examine_packages(report: Report) -> None:
    """Lists versions of what the extra brings, and tries whether it can be imported."""
    missing = missing_packages()
    present = [module for module in EXTRA if module not in missing]
    versions = {name: version(name) for name in ("numpy", *(EXTRA[m] for m in present))}
    pairs = [f"{name} {number}" for name, number in versions.items()]
    for start in range(0, len(pairs), 5):
        report.fact("" if start else "packages", ", ".join(pairs[start : start + 5]))
    if needed := [EXTRA[m] for m in EXTRA if m in missing and m not in OPTIONAL]:
        what = f"training needs packages that are missing: {', '.join(needed)}"
        report.problem(what, advice.install_extra())
    elif not _fits_mujoco(versions["mujoco"]):
        what = f"dm_control does not work with mujoco {versions['mujoco']}"
        report.problem(what, advice.install_extra())
    for module, lost in OPTIONAL.items():
        if module in missing:
            fix = advice.install_extra()
            report.warnings.append(f"{EXTRA[module]} is missing: {lost}; install it with: {fix}")
    for module, error in broken_packages(present, _IMPORT_SECONDS).items():
        name, fix = EXTRA[module], advice.repair(EXTRA[module])
        what = f"{name} {versions[name]} ({error}) cannot be used"
        if module in OPTIONAL:
            report.warnings.append(f"{what}: {OPTIONAL[module]}; repair it with: {fix}")
        else:
            report.problem(what, fix)


def _examine_rendering(report: Report) -> None:
    names = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID")
    given = [f"{name}={os.environ[name]!r}" for name in names if name in os.environ]
    settings = f" ({', '.join(given)})" if given else ""
    if missing_packages() & {"gymnasium", "dm_control", "mujoco", "OpenGL"}:
        report.fact("rendering", "not tried: packages are missing")
        return
    found = render_test()
    if "error" in found:
        what, fix = str(found["error"]), str(found["fix"])
        report.fact("rendering", f"FAILED{settings}: {what}")
        report.problem(f"rendering does not work: {what}", fix or what)
        return
    report.fact("rendering", f"{found['backend']}, {found['renderer']}{settings}")
    times = [
        f"{quality} {frame['median']:.2f} (p95 {frame['p95']:.2f}, CPU {frame['cpu']:.2f})"
        for quality, frame in found["frames"].items()
    ]
    report.fact("", f"ms per 64x64 frame of cheetah-run: {', '.join(times)}")
    if "llvmpipe" in found["renderer"].lower() and torch.cuda.is_available():
        report.warnings.append(
            "the processor renders (llvmpipe) although a CUDA device is there; install the EGL "
            "library of the NVIDIA driver (libnvidia-gl), and in a container set "
            "NVIDIA_DRIVER_CAPABILITIES=all"
        )


def render_test(seconds: float = _RENDER_SECONDS) -> dict[str, Any]:
    """Renders in a process of its own, so that a crash or a hang of the driver is only reported.

    Args:
      seconds: how long it may take.

    Returns:
      `backend`, `renderer` and, by quality, `frames` with milliseconds; or `error`, the finding,
      and `fix`.
    """
    other = _other_library()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER_TEST],
            capture_output=True, text=True, timeout=seconds, env=python_environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"it did not end within {seconds:.0f} s", "fix": other}
    if done.returncode < 0:
        name = _signal_name(-done.returncode)
        return {"error": f"the process was ended by {name}", "fix": other}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": last, "fix": other}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _other_library() -> str:
    """Returns the command that installs the library which is not in use, and tries it."""
    used = os.environ.get("MUJOCO_GL", "").strip().lower() or "egl"
    name, packages = (
        ("egl", ("libegl1", "libgl1")) if used == "osmesa" else ("osmesa", ("libosmesa6",))
    )
    return f"{advice.system_packages(*packages)} && MUJOCO_GL={name} {advice.program()} doctor"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _fits_mujoco(version: str) -> bool:
    numbers = version.split(".")[:2]
    if not all(number.isdigit() for number in numbers):
        return True
    return (3, 17) <= tuple(map(int, numbers)) < (4,)
