"""Imports: light ones for users of the planner, and the directions of the architecture."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import planet

ROOT = Path(planet.__file__).parent
LIGHT = (
    "planet", "planet.ops", "planet.models", "planet.planning", "planet.acting.agent",
    "planet.config.presets", "planet.replay", "planet.storage.checkpoint",
    "planet.training.trainer",
    "planet.profiling", "planet.diagnostics.doctor", "planet.diagnostics.build",
    "planet.diagnostics.machine",
    "planet.weights.random", "planet.errors.advice", "planet.diagnostics.packages",
)  # fmt: skip
# torch and numpy with what they themselves need.
ALLOWED = (
    "planet", "torch", "numpy", "torchgen", "functorch", "typing_extensions", "sympy", "mpmath",
    "networkx", "jinja2", "markupsafe", "fsspec", "filelock", "setuptools", "_distutils_hack",
    "triton", "nvidia",
)  # fmt: skip
# Finds what is allowed and nothing else, as where the other packages are not installed.
BLOCKED = """
import importlib.machinery, sys

class Allowed(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in {allowed!r}:
            return super().find_spec(name, path, target)
        return None

kept = [f for f in sys.meta_path if f is not importlib.machinery.PathFinder]
sys.meta_path[:] = [*kept, Allowed]
if {without_extension}:
    sys.modules["planet._C"] = None
"""


def run_blocked(code: str, without_extension: bool = False) -> str:
    """Runs `code` where only torch, numpy and planet can be imported; returns what it prints."""
    blocker = BLOCKED.format(allowed=ALLOWED, without_extension=without_extension)
    folders = [str(ROOT.parent), *(folder for folder in sys.path if folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run(
        [sys.executable, "-c", f"{blocker}\n{code}"],
        capture_output=True, text=True, timeout=1800, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_planner_s_modules_need_torch_and_numpy_alone() -> None:
    run_blocked("\n".join(f"import {name}" for name in LIGHT))


@pytest.mark.parametrize("name", ["gymnasium", "dm_control", "mujoco", "tyro", "tensorboard"])
def test_the_blocker_blocks(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    code = f"try:\n    import {name}\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert run_blocked(code) == f"No module named '{name}'"


def test_everything_but_fused_works_without_the_extension() -> None:
    code = """
import torch
import planet, planet.ops, planet.training.trainer, planet.diagnostics.doctor, planet.profiling
from planet.config import ModelConfig
from planet.models import WorldModel
model = WorldModel(ModelConfig(encoder_channels=(4,), decoder="mlp"), 2, 8)
weights = model.rollout_weights()
latent = model.initial(1)
planner = planet.CEMPlanner(2, 8, 1, 2)
assert planner.plan(planet.Imagination(weights, latent, backend="reference")).iterations == 1
try:
    planner.plan(planet.Imagination(weights, latent))
except ImportError as error:
    print(error)
print(planet.build_info())
"""
    message, info = run_blocked(code, without_extension=True).splitlines()
    assert info.startswith("{'extension': False, 'reason': 'its import is blocked")
    assert "backend='fused'" in message
    assert "its import is blocked" in message
    assert "backend='reference'" in message


# --- Directions -----------------------------------------------------------------------------------


def module_name(path: Path) -> str:
    parts = ["planet", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(module: str) -> set[str]:
    """Modules of planet that a module names in import statements anywhere, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            base = node.module or ""
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name in MODULES else base)
    return {name for name in found if name == "planet" or name.startswith("planet.")} - {module}


GRAPH = {module: imports_of(module) for module in MODULES}


def inside(module: str, *packages: str) -> bool:
    return any(module == f"planet.{p}" or module.startswith(f"planet.{p}.") for p in packages)


# Modules in the first column never import those in the second.
NEVER = [
    (("models",), ("planning", "agent", "training", "envs", "replay", "cli")),
    (("planning",), ("models", "agent", "training", "envs", "replay", "cli")),
    (("ops",), ("models", "planning", "agent", "training", "envs", "replay", "cli")),
    (("ops.reference",), ("ops.fused",)),
    (("ops.fused",), ("ops.reference",)),
    (("envs", "replay"), ("models", "ops", "agent", "planning", "training", "cli")),
    (("envs",), ("replay",)),
    (("replay",), ("envs",)),
    (("agent",), ("training", "envs", "replay", "cli")),
    (("training",), ("cli", "profiling", "doctor")),
    (("training.trainer",), ("models", "ops", "planning", "agent", "acting", "systems")),
    (("protocols",), ("config", "weights", "models", "planning", "replay", "training", "envs")),
    (("acting", "systems"), ("cli", "profiling", "envs", "replay")),
    (("doctor",), ("models", "planning", "agent", "training", "profiling", "replay", "cli")),
    (("advice", "ops.fingerprint"), ("latent", "config", "weights", "noise", "machine")),
    (("build",), ("models", "planning", "agent", "training", "profiling", "envs", "replay", "cli")),
    (
        ("config", "latent", "weights", "noise", "machine", "random_weights", "advice", "packages"),
        (
            "ops",
            "models",
            "planning",
            "agent",
            "training",
            "profiling",
            "envs",
            "replay",
            "build",
            "cli",
        ),
    ),
]


@pytest.mark.parametrize(("above", "below"), NEVER, ids=[f"{a} -> {b}" for a, b in NEVER])
def test_dependencies_have_the_directions_of_the_architecture(
    above: tuple[str, ...], below: tuple[str, ...]
) -> None:
    wrong = [
        f"{module} imports {name}"
        for module, names in GRAPH.items()
        for name in names
        if inside(module, *above) and inside(name, *below)
    ]
    assert wrong == []


def test_only_one_module_loads_the_extension() -> None:
    named = [
        m for m, path in MODULES.items() if re.search(r"[\"']planet\._C[\"']", path.read_text())
    ]
    assert named == ["planet.ops.extension"]


def test_there_are_no_import_cycles() -> None:
    # A package's __init__ runs before its modules, but only what it names is a dependency.
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for name in sorted(GRAPH.get(module, ())):
            visit(name, (*path, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


def test_only_the_command_line_prints() -> None:
    wrong = []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(
                node.func, ast.Name) else ""  # fmt: skip
            if called == "print" and not inside(module, "cli"):
                wrong.append(module)
    assert wrong == []
