"""Imports: light ones for users of the planner, and the rooms of docs/architecture.md."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from draw_architecture import PAGE, imports, module_paths, room_of, rooms

import planet

ROOT = Path(planet.__file__).parent
TABLE = {room.name: room for room in rooms(PAGE.read_text(encoding="utf-8"))}
MODULES = module_paths(ROOT)
GRAPH = imports(ROOT)
# Modules that need more than torch and numpy, and what they miss first; no other does.
NEED_MORE = {
    "planet.cli.diagnose": "tyro",
    "planet.cli.evaluate": "tyro",
    "planet.cli.export": "tyro",
    "planet.cli.fit": "tyro",
    "planet.cli.options": "tyro",
    "planet.cli.profile": "tyro",
    "planet.cli.replay": "tyro",
    "planet.cli.train": "tyro",
    "planet.envs.dmc": "gymnasium",
    "planet.envs.gym": "gymnasium",
    "planet.envs.measure": "gymnasium",
    "planet.envs.observations": "gymnasium",
    "planet.envs.simulator": "gymnasium",
    "planet.envs.task_env": "gymnasium",
    "planet.envs.toy": "gymnasium",
    "planet.experiments.simulated": "gymnasium",
}
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
        own = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if own or top in {allowed!r}:
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


def test_modules_need_torch_and_numpy_alone() -> None:
    code = f"""
import importlib
missing = {{}}
for name in {sorted(set(MODULES) - {"planet.__main__"})}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing[name] = error.name
print(missing)
"""
    assert ast.literal_eval(run_blocked(code)) == NEED_MORE


@pytest.mark.parametrize("name", ["gymnasium", "dm_control", "mujoco", "tyro", "tensorboard"])
def test_the_blocker_blocks(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    code = f"try:\n    import {name}\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert run_blocked(code) == f"No module named '{name}'"


def test_everything_but_fused_works_without_the_extension() -> None:
    code = """
import torch
import planet, planet.training.trainer, planet.diagnostics.doctor, planet.profiling
from planet.config import ModelConfig
from planet.models import WorldModel
seen = planet.protocols.image_spec(8)
model = WorldModel(ModelConfig(encoder_channels=(4,), decoder="mlp"), 2, seen)
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


def test_a_model_is_fitted_to_recorded_episodes_without_environment_packages() -> None:
    code = """
import tempfile
from dataclasses import replace
import numpy as np
from planet.config import CEMConfig, Config, ImaginationConfig, ModelConfig, TrainConfig
from planet.experiments.fit import fit
from planet.experiments.recorded import open_recorded
from planet.experiments.run import open_run
from planet.replay import Episode, ReplayBuffer
model = ModelConfig(encoder_channels=(4,), decoder="mlp", belief_size=5, state_size=3)
train = TrainConfig(initial_updates=1, batch_size=2, chunk_length=4, backend="reference")
planner = CEMConfig(horizon=2, candidates=8, iterations=1, topk=2)
imagination = ImaginationConfig(backend="reference")
config = Config(model=model, planner=planner, train=train, imagination=imagination)
with tempfile.TemporaryDirectory() as folder:
    buffer, entries = ReplayBuffer(folder + "/data"), np.zeros(9, np.float32)
    for index in range(2):
        image = np.full((9, 8, 8, 3), index, np.uint8)
        buffer.add(Episode({"image": image}, entries[:, None], entries, entries > 0))
    data = open_recorded(folder + "/data")
    config = replace(config, environment=data.environment(config.environment))
    errors = fit(config, folder + "/run", data)
    print(errors.chunks, open_run(folder + "/run").updates)
"""
    assert run_blocked(code) == "2 1"


# --- Rooms ----------------------------------------------------------------------------------------


def test_every_room_is_in_the_table_and_every_row_is_a_room() -> None:
    assert {room_of(module) for module in MODULES} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_room_imports_what_the_table_allows(name: str) -> None:
    room = TABLE[name]
    wrong = [
        f"{module} imports {imported}"
        for module in MODULES
        if room_of(module) == name
        for imported in sorted(GRAPH[module])
        if room_of(imported)
        not in {name, "_C"}
        | room.may_import
        | room.only.get(module.rpartition(".")[2], frozenset())
    ]
    assert wrong == []


def test_the_table_allows_no_arrow_up() -> None:
    order = list(TABLE)
    for i, room in enumerate(TABLE.values()):
        for allowed in (room.may_import, *room.only.values()):
            assert allowed <= set(order[i + 1 :]), room.name


def test_what_the_table_allows_single_files_is_used() -> None:
    used = {(module, room_of(name)) for module in MODULES for name in GRAPH[module]}
    for room in TABLE.values():
        for file, allowed in room.only.items():
            assert {(f"planet.{room.name}.{file}", name) for name in allowed} <= used


@pytest.mark.parametrize(
    ("one", "other"), [("reference", "fused"), ("fused", "reference")], ids=["reference", "fused"]
)
def test_no_backend_imports_the_other(one: str, other: str) -> None:
    assert f"planet.ops.{other}" not in GRAPH[f"planet.ops.{one}"]


def test_only_one_module_loads_the_extension() -> None:
    loads = re.compile(r"[\"']planet\._C[\"']|\bimport _C\b|planet\._C import")
    named = [m for m, path in MODULES.items() if loads.search(path.read_text(encoding="utf-8"))]
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
