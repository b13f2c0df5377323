"""The bundle for a bare GPU machine: what is in it, what is refused, how it is unpacked."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from gpu.bundle import libraries, manifest, packages, unpack
from processes import run

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "benchmarks/gpu/bundle"
PYTHON = (3, 12)
FACTS = {"commit": "abc1234"}


def wheel(path: Path, files: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    wheel(folder / "wheels/dm_env-1.6-py3-none-any.whl", {"dm_env/__init__.py": "there = 1\n"})
    wheel(folder / "wheels/dm_tree-0.1-cp312-cp312-linux_x86_64.whl", {"tree.py": ""})
    for build in ("wheels", "jitter", "checked"):
        files = {"planet/_C.abi3.so": build, "planet/gone.py": "", "planet/__init__.py": "old"}
        wheel(folder / build / "planet_rl-0.1.0-cp310-abi3-linux_x86_64.whl", files)
    (folder / "first_run").write_text("program")
    (folder / "gl").mkdir()
    for name in libraries.LIBRARIES:
        (folder / "gl" / name).write_text(name)
    manifest.write(folder, ROOT, FACTS)
    return folder


def test_a_bundle_is_made_and_unpacked_without_planet_or_torch() -> None:
    """The installed planet may be of other sources, which then does not even import."""
    code = "import runpy, sys; sys.modules.update(planet=None, torch=None, numpy=None)\n"
    for name in ("__main__.py", "unpack.py"):
        run(sys.executable, "-c", code + f"runpy.run_path({str(BUNDLE / name)!r})")


def test_a_whole_bundle_has_no_problem(bundle: Path) -> None:
    assert manifest.problems(bundle, ROOT, PYTHON) == {}
    written = json.loads((bundle / manifest.NAME).read_text())
    sizes = [file["bytes"] for file in written["files"].values()]
    assert written["bytes"] == sum(sizes) and len(sizes) == 11
    assert manifest.table(written).endswith("together, in MB")


def test_what_is_wrong_is_named(bundle: Path) -> None:
    (bundle / "first_run").write_text("PROGRAM")
    (bundle / "gl" / "libGL.so.1").unlink()
    found = manifest.problems(bundle, ROOT, (3, 13))
    assert found == {
        "first_run": "is damaged",
        "gl/libGL.so.1": "is missing",
        "wheels/dm_tree-0.1-cp312-cp312-linux_x86_64.whl": "is not for Python 3.13",
    }


def test_a_bundle_of_other_sources_is_told(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    (other / "planet/ops").mkdir(parents=True)
    for name in ("CMakeLists.txt", "planet/ops/fingerprint.py"):
        shutil.copy(ROOT / name, other / name)
    found = manifest.problems(bundle, other, PYTHON)
    assert found == {"planet": "was built from other sources than this checkout's (abc1234)"}


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path) -> None:
    found = manifest.problems(tmp_path, ROOT, PYTHON)
    assert found == {manifest.NAME: f"there is no bundle in {tmp_path} (FileNotFoundError)"}


def test_above_fifty_megabytes_the_largest_files_are_named(bundle: Path) -> None:
    with open(bundle / "wheels" / "large.bin", "wb") as file:
        file.truncate(50_100_000)
    with pytest.raises(manifest.Oversize, match=r"at most 50 MB, got 50\.1 MB.*: wheels/large"):
        manifest.write(bundle, ROOT, FACTS)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-manylinux_2_28_x86_64", True),
        ("cp312-cp312-linux_x86_64", True),
        ("cp310-abi3-linux_x86_64", True),
        ("cp313-abi3-linux_x86_64", False),
        ("cp311-cp311-linux_x86_64", False),
        ("py2-none-any", False),
    ],
)
def test_a_wheel_s_name_says_what_can_load_it(tags: str, expected: bool) -> None:
    assert manifest.serves(f"name-1.0-{tags}.whl", PYTHON) is expected


def test_a_trimmed_wheel_keeps_its_license_and_a_true_record(tmp_path: Path) -> None:
    kept = ["dm_control/suite/__init__.py", "dm_control-1.0.dist-info/licenses/LICENSE"]
    gone = ["dm_control/locomotion/walkers/rat.xml", "dm_control/suite/suite_test.py"]
    record = "dm_control-1.0.dist-info/RECORD"
    files = {name: name for name in kept + gone}
    files[record] = "".join(f"{name},sha256=0,0\n" for name in kept + gone)
    path = wheel(tmp_path / "dm_control-1.0-py3-none-any.whl", files)
    packages.trim(path, packages.LEFT_OUT["dm_control"])
    with zipfile.ZipFile(path) as opened:
        assert sorted(opened.namelist()) == sorted([*kept, record])
        assert opened.read(record).decode() == "".join(f"{name},sha256=0,0\n" for name in kept)


def test_a_bundle_is_unpacked_around_the_checkout_s_python_files(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "are_there", lambda: False)
    monkeypatch.setenv("PYTHONPATH", "before")
    work = tmp_path / "work"
    variables = unpack.unpack(bundle, work, {})
    assert (work / "site/dm_env/__init__.py").read_text() == "there = 1\n"
    for build, site in unpack.SITES.items():
        assert (work / site / "planet/_C.abi3.so").read_text() == build
        ours = (ROOT / "planet/__init__.py").read_text()
        assert (work / site / "planet/__init__.py").read_text() == ours
        assert not (work / site / "planet/gone.py").exists()
    assert variables["PYTHONPATH"] == f"{work / 'site'}:before"
    assert variables["PLANET_COMMIT"] == "abc1234+"  # other Python files
    assert variables["PLANET_JITTER_SITE"] == str(work / "jitter")
    assert variables["PLANET_CHECKED_SITE"] == str(work / "checked")
    assert Path(variables["PLANET_FIRST_RUN"]).read_text() == "program"
    assert variables["LD_LIBRARY_PATH"].split(":")[0] == str(work / "gl")
    assert (work / "gl/libEGL.so").read_text() == (work / "gl/libEGL.so.1").read_text()


def test_what_has_a_problem_is_left_out(bundle: Path, tmp_path: Path) -> None:
    problems = {"wheels/dm_env-1.6-py3-none-any.whl": "is damaged", "planet": "is of old"}
    variables = unpack.unpack(bundle, tmp_path / "work", problems)
    assert [path.name for path in (tmp_path / "work/site").iterdir()] == ["tree.py"]
    assert "PLANET_JITTER_SITE" not in variables
