"""Plants mistakes of order in the kernels' sources, one at a time, and runs the tests that must see
them. (Calls left out one at a time are test_cuda_order.cpp's.) A developer's command of minutes:

    python tests/csrc/order_mutants.py FOLDER [NAME ...]

FOLDER keeps a copy of the sources and its build.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("CMakeLists.txt", "pyproject.toml", "cmake", "csrc", "emulator", "tests/csrc")

# Name: the file, what stands there and what is put in its place.
MUTANTS = {
    "one reward barrier": (
        "csrc/cuda/persistent/steps.cuh",
        ("static_cast<int>((exchanges - 1) & 1)", "0"),
        ("(exchanges - 1) >> 1 & 1", "(exchanges - 1) & 1"),
    ),
    "one panel of h and of r": (
        "csrc/cuda/persistent/steps.cuh",
        ("t % 2 == 0 ? panels[0] : panels[1]", "t >= 0 ? panels[0] : panels[1]"),
    ),
    "relaxed arrival at the grid's barrier": (
        "csrc/cuda/persistent/kernel.cuh",
        ("add_release(arrivals, 1);", "atomicAdd(arrivals, 1u);"),
    ),
    "one share of returns": (
        "csrc/cuda/persistent/kernel.cuh",
        ("(seat.shared + p.at.shares) + seat.rank;", "(seat.shared + p.at.shares);"),
    ),
    "one list of elites": (
        "csrc/cuda/cem_refit.cu",
        ("lists + blockIdx.x * entries", "lists"),
    ),
    "one array of keys": (
        "csrc/cuda/refit.cu",
        ("workspace + blockIdx.x * padded", "workspace"),
    ),
}


def copy_sources(folder: Path) -> None:
    for name in SOURCES:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)


def build(folder: Path) -> None:
    options = ["-DPLANET_PYTHON=OFF", "-DPLANET_TESTS=ON"]
    subprocess.run(["cmake", "-S", folder, "-B", folder / "build", *options], check=True)
    target = ["--target", "planet_cuda_order_tests", "--parallel", "2"]
    subprocess.run(["cmake", "--build", folder / "build", *target], check=True)


def report(folder: Path) -> str | None:
    """Run the tests; returns the first failure, or None."""
    command = [folder / "build/tests/csrc/planet_cuda_order_tests", "order:"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    failures = [line for line in run.stdout.splitlines() if "test_cuda_order.cpp" in line]
    return None if run.returncode == 0 else failures[0].strip() if failures else run.stdout[-500:]


def seen(folder: Path, name: str) -> bool:
    file, *edits = MUTANTS[name]
    path = folder / file
    original = path.read_text(encoding="utf-8")
    text = original
    for old, new in edits:
        if text.count(old) != 1:
            raise SystemExit(f"{name}: expected {old!r} once in {file}, found {text.count(old)}")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    try:
        build(folder)
        failure = report(folder)
    finally:
        path.write_text(original, encoding="utf-8")
    sys.stdout.write(f"{name}: {failure or 'NOT SEEN'}\n")
    sys.stdout.flush()
    return failure is not None


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(MUTANTS)
    copy_sources(folder)
    unseen = [name for name in names if not seen(folder, name)]
    if unseen:
        raise SystemExit(f"not seen: {', '.join(unseen)}")


if __name__ == "__main__":
    main()
