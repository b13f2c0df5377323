"""The distribution: what is installed, what it depends on, what it links."""

from __future__ import annotations

import importlib.util
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch
from conftest import PATH
from ops.fused_support import needs_extension
from processes import python, run

import planet
from planet import build_info
from planet.ops import extension
from planet.ops.extension import SUFFIX

try:
    DISTRIBUTION = metadata.distribution("planet-rl")
except metadata.PackageNotFoundError:
    DISTRIBUTION = None
needs_installation = pytest.mark.skipif(DISTRIBUTION is None, reason="planet-rl is not installed")


@needs_installation
def test_core_dependencies_are_torch_and_numpy_alone() -> None:
    requires = [r for r in DISTRIBUTION.requires or [] if "extra ==" not in r]
    assert sorted(r.split(">")[0].strip() for r in requires) == ["numpy", "torch"]


@needs_installation
def test_version_extras_and_entry_points() -> None:
    assert DISTRIBUTION.version == planet.__version__
    assert {"train", "test", "bench", "dev"} <= set(DISTRIBUTION.metadata.get_all("Provides-Extra"))
    entries = {(e.group, e.name): e.value for e in DISTRIBUTION.entry_points}
    assert entries["console_scripts", "planet"] == "planet.cli:main"
    registration = "planet.envs.registration:register_environments"
    assert entries["gymnasium.envs", "__root__"] == registration


def test_the_package_is_typed() -> None:
    assert (Path(planet.__file__).parent / "py.typed").is_file()


@needs_extension
def test_build_info_states_the_facts() -> None:
    info = build_info()
    assert info["extension"] is True
    assert info["version"] == planet.__version__
    assert info["isa"] in info["isas"]
    assert info["isas"][0] in ("baseline", "neon")
    assert info["fp32"] in info["isas"]
    assert info["int8"] in (*info["isas"], None)
    assert (info["int8"] is None) == ("int8_reason" in info)
    assert info["threads"] == torch.get_num_threads()
    assert int(info["torch_headers"].split(".")[0]) >= 2
    assert set(info["cuda"]) >= {"compiled", "devices", "status"}


@needs_extension
def test_the_instruction_set_can_be_capped_from_outside() -> None:
    code = "import planet; print(planet.build_info()['isa'])"

    names = [name for name in build_info()["isas"] if name != "amx-double"]  # by its name alone
    for cap, used in ((names[0], names[0]), ("", names[-1])):
        done = python("-c", code, env={"PLANET_CPU_ISA": cap, "PATH": "/usr/bin:/bin"})
        assert done.stdout.strip() == used


@needs_extension
@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf")
def test_the_extension_links_torch_by_name_and_cuda_not_at_all() -> None:
    text = run("readelf", "--dynamic", str(extension.path())).stdout
    needed = {line.split("[")[1].rstrip("]") for line in text.splitlines() if "(NEEDED)" in line}
    assert {"libtorch.so", "libtorch_cpu.so"} <= needed
    assert not [name for name in needed if "cuda" in name or "c10" in name or "gomp" in name]
    assert "RUNPATH" not in text
    assert "RPATH" not in text


@needs_extension
@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
def test_the_extension_exports_its_entry_alone() -> None:
    listing = run("nm", "--dynamic", "--defined-only", "--extern-only", str(extension.path()))
    symbols = [line.split()[-1] for line in listing.stdout.splitlines()]
    assert [s for s in symbols if "planet" in s or s.startswith("PyInit")] == ["PyInit__C"]


def audited(name: str, *options: str) -> str:
    """Returns the words of a tool that accepts the extension."""
    tool = shutil.which(name, path=PATH)
    assert tool is not None, "pip installs it beside the interpreter, or on PATH"
    return run(tool, *options, str(extension.path())).stdout


@needs_extension
@pytest.mark.skipif(
    importlib.util.find_spec("torch_abi_audit") is None, reason="torch-abi-audit is in extra dev"
)
def test_the_extension_uses_the_stable_abi_of_torch_2_11() -> None:
    text = audited("torch-abi-audit")
    assert "STABLE" in text
    assert "unstable=0" in text
    assert "2.11" in text


@needs_extension
@needs_installation
@pytest.mark.skipif(not SUFFIX.endswith(".abi3.so"), reason="this Python loads no such files")
def test_one_wheel_serves_every_python() -> None:
    assert extension.path().name == "_C.abi3.so"
    tags = [line for line in DISTRIBUTION.read_text("WHEEL").splitlines() if "Tag:" in line]
    assert [tag.split("-")[:2] for tag in tags] == [["Tag: cp310", "abi3"]]


@needs_extension
@pytest.mark.skipif(
    importlib.util.find_spec("abi3audit") is None, reason="abi3audit is in extra dev"
)
def test_the_extension_uses_the_limited_api_of_python_3_10() -> None:
    audited("abi3audit", "--strict", "--assume-minimum-abi3", "3.10")
