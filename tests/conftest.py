"""Fixtures for the whole test suite."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import hypothesis
import numpy as np
import processes
import pytest
import torch

from planet.ops import backend, extension

pytest_plugins = ("weight_files", "cpp_examples")  # two readers of them; programs that read them
for name in ("COLUMNS", "PLANET_TRACEBACK"):  # would give messages another form
    os.environ.pop(name, None)
torch.set_num_threads(1)  # the models of tests are so small that threads cost more than they bring


# ---- Random inputs -------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("random inputs")
    group.addoption(
        "--seed",
        default="0",
        help="of the random inputs; 'fresh' draws one and shows it at the end",
    )
    group.addoption(
        "--examples", type=int, default=100, help="that hypothesis tries in each of its tests"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Decides the seed before workers and hypothesis's own plugin read it."""
    config.addinivalue_line("markers", "random: its inputs come from --seed")
    option = config.option
    if option.seed == "fresh":
        option.seed = str(random.SystemRandom().randrange(1, 2**31))
    option.hypothesis_seed = option.seed
    hypothesis.settings.register_profile(
        "planet",
        max_examples=option.examples,
        deadline=None,  # a busy machine is no mistake
        database=None,  # what failed before does not decide what is tried now
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("planet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what depends on --seed, so that `-m random` runs it alone."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "seed" in fixtures or hasattr(getattr(item, "obj", None), "hypothesis"):
            item.add_marker("random")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    seed, examples = config.option.seed, config.option.examples
    terminalreporter.write_line(f"random inputs: --seed {seed} --examples {examples}")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Seeds random inputs for which a test's bound holds whatever they are."""
    return int(request.config.option.seed)


@pytest.fixture(autouse=True)
def same_beginning() -> None:
    """Global generators, which modules are made with, start equal for every test."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


# ---- What is built once --------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
# Also those that pip put beside the interpreter.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def has_tile_double() -> bool:
    """Whether the extension under test was built with the double of AMX's tiles."""
    built = extension.module is not None and "amx-double" in extension.module.build_info()["isas"]
    return bool(built)


@pytest.fixture(scope="session")
def built_core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of the C++ core as examples/cpp/README.md builds it, for all workers."""
    cmake = shutil.which("cmake", path=PATH)
    if cmake is None or shutil.which("c++", path=PATH) is None or not (ROOT / "csrc").is_dir():
        pytest.skip("needs the source tree, cmake and a C++ compiler")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    build = shared / "planet-core"
    with open(shared / "planet-core-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one worker builds, the others wait
        if not (shared / "planet-core-done").exists():
            double = f"-DPLANET_TILE_DOUBLE={'ON' if has_tile_double() else 'OFF'}"
            for words in (["-S", ROOT, "-B", build, "-DPLANET_PYTHON=OFF", double],
                          ["--build", build, "--parallel", "2"]):  # fmt: skip
                processes.run(cmake, *words, env=os.environ | {"PATH": PATH})
            (shared / "planet-core-done").touch()
    return build


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests must not change it, except for the scores, curve and video in it."""
    pytest.importorskip("tyro", reason="the command line needs the train extra")
    pytest.importorskip("gymnasium", reason="the command line needs the train extra")
    from small_run import train

    from planet.cli import main

    directory = tmp_path_factory.mktemp("runs") / "trained"
    assert main(train(directory)) == 0
    return directory


# ---- Backends ------------------------------------------------------------------------------------

FUSED_MISSING = "the compiled core is not built; see README, Install"


def fused_is_built() -> bool:
    """Whether the extension is there; a broken one counts, so that its error is seen."""
    return importlib.util.find_spec("planet._C") is not None or extension.module is not None


BACKENDS = [
    "reference",
    pytest.param("fused", marks=pytest.mark.skipif(not fused_is_built(), reason=FUSED_MISSING)),
]
EACH_BACKEND = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(params=BACKENDS)
def ops(request: pytest.FixtureRequest) -> ModuleType:
    """The ops of each backend in turn."""
    return backend(request.param)


@pytest.fixture
def int8_ops(ops: ModuleType) -> ModuleType:
    """The ops of each backend that has int8 products on this machine."""
    if ops is backend("fused") and "int8" not in ops._C.precisions():
        pytest.skip("the compiled core has no int8 products for this processor")
    return ops


@pytest.fixture
def each_backend() -> list[ModuleType]:
    """The ops of those that are built, for checks that they share."""
    return [backend(name) for name in ("reference", *(["fused"] if fused_is_built() else []))]


@pytest.fixture
def both() -> tuple[ModuleType, ModuleType]:
    """Reference and fused, for comparisons of the two."""
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    return backend("reference"), backend("fused")


@pytest.fixture
def report_error(
    record_property: Callable[[str, object], None],
) -> Callable[[str, float, float], None]:
    """Checks a measured error against its tolerance; shows it with `pytest -rP`."""

    def check(what: str, error: float, tolerance: float) -> None:
        sys.stdout.write(f"{what}: error {error:.1e}, tolerance {tolerance:.1e}\n")
        record_property(what, float(error))  # a plain number crosses process borders
        assert error <= tolerance, f"{what}: error {error:.3e} above {tolerance:.1e}"

    return check
