"""The C++ package as a user meets it: installed, found by CMake, and planning as Python does."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from cpp_examples import COMPILER, run
from ops.fused_support import BUILT, ISAS, KERNELS, isa
from random_weights import PRESET_SIZES, TINY, Problem, Sizes, make_problem

from planet.noise import row_seeds
from planet.ops import fused
from planet.planning import PLANNERS, ICEMPlanner, Imagination, MPPIPlanner, ShootingPlanner
from planet.protocols import Plan
from planet.weights.file import save_weights

pytestmark = [
    pytest.mark.skipif(not (ROOT / "examples" / "cpp").is_dir(), reason="no source tree"),
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
    pytest.mark.skipif(not BUILT, reason="nothing to compare with: the extension is not built"),
]

MODELS = {
    "tiny": make_problem(TINY, 1),
    "elu, reward of one layer": make_problem(Sizes(9, 4, 1, 17, ()), 1, activation="elu"),
    "reward of four layers": make_problem(Sizes(33, 7, 3, 20, (31, 16, 5)), 1, scale=2.0),
    "elu, clamp, small": make_problem(PRESET_SIZES["small"], 1, activation="elu", stddev="clamp"),
    "ssm": make_problem(Sizes(0, 30, 6, 50, (40,)), 1),
    "continuation": make_problem(Sizes(9, 4, 2, 17, (13,), continuation=True), 1, scale=2.0),
}
HORIZON, CANDIDATES, TOPK, ITERATIONS = 4, 150, 12, 3


@pytest.fixture(scope="module")
def program(examples: Path) -> Path:
    """The example."""
    return examples / "plan"


@pytest.mark.parametrize(("name", "precision"), KERNELS)
@pytest.mark.parametrize("model", list(MODELS))
def test_plans_are_those_of_python_bit_for_bit(
    program: Path, tmp_path: Path, model: str, name: str, precision: str
) -> None:
    problem = MODELS[model]
    with isa(name):
        mean, stddev = problem.distribution(HORIZON)
        expected = fused.cem_plan(
            problem.weights, problem.latent, mean, stddev, seed=-7, candidates=CANDIDATES,
            topk=TOPK, iterations=ITERATIONS, precision=precision,
        )  # fmt: skip
    bits = bits_of(expected)
    save_weights(problem.weights, tmp_path / "model.weights")
    write_latent(problem, tmp_path)
    for threads in ("1", "2", "3"):
        output = run(
            program, tmp_path / "model.weights", "--latent", tmp_path / "latent",
            "--output", tmp_path / "plan", "--seed", "-7", "--horizon", str(HORIZON),
            "--candidates", str(CANDIDATES), "--topk", str(TOPK), "--plans", "2",
            "--iterations", str(ITERATIONS), "--threads", threads, "--isa", name,
            "--precision", precision,
        ).stdout  # fmt: skip
        assert (tmp_path / "plan").read_bytes() == bits
        assert f"{threads} threads, {name}" in output
        np.testing.assert_allclose(action_in(output), expected.action[0], rtol=1e-5)


def bits_of(plan: Plan) -> bytes:
    """Returns what the example writes."""
    parts = (plan.mean, plan.stddev, plan.best_return, plan.action)
    return b"".join(part.numpy().tobytes() for part in parts)


def write_latent(problem: Problem, folder: Path) -> None:
    latent = torch.cat([problem.latent.belief[0], problem.latent.state[0]])
    (folder / "latent").write_bytes(latent.numpy().tobytes())


def action_in(output: str) -> list[float]:
    (line,) = (line for line in output.splitlines() if line.startswith("action "))
    return [float(word) for word in line.split()[1:]]


def test_the_settings_in_the_file_are_obeyed_and_options_come_before_them(
    program: Path, tmp_path: Path
) -> None:
    problem, file = MODELS["reward of four layers"], tmp_path / "model.weights"
    settings = {
        "horizon": 3, "candidates": 90, "topk": 9, "iterations": 2, "initial_stddev": 0.5,
        "low": [-1.0, 2.0, 0.5], "high": [1.0, 6.0, 0.5], "spread": "mean_absolute",
        "epsilon": 1e-3, "state_noise": False, "discount": 0.75, "precision": "fp32",
        "budget_ms": None, "action_repeat": 4,
    }  # fmt: skip
    save_weights(problem.weights, file, settings)
    write_latent(problem, tmp_path)
    low, high = (torch.tensor(settings.pop(name)) for name in ("low", "high"))
    for name in ("initial_stddev", "horizon", "action_repeat"):
        del settings[name]
    for options, horizon in ({}, 3), ({"--horizon": "5", "--topk": "30"}, 5):
        given = {**settings, "topk": int(options.get("--topk", 9))}
        middle, half = ((low + high) / 2).expand(horizon, 1, -1), ((high - low) / 2)
        expected = fused.cem_plan(
            problem.weights, problem.latent, middle, (half * 0.5).expand(horizon, 1, -1),
            seed=0, low=low, high=high, **given,
        )  # fmt: skip
        words = [word for pair in options.items() for word in pair]
        output = run(program, file, "--latent", tmp_path / "latent", "--output", tmp_path / "plan",
                     *words).stdout  # fmt: skip
        assert (tmp_path / "plan").read_bytes() == bits_of(expected)
        assert output.splitlines()[0] == (
            f"cem: horizon {horizon}, candidates 90, topk {given['topk']}, iterations 2, "
            "initial stddev 0.5, low -1 2 0.5, high 1 6 0.5, spread mean_absolute, epsilon 0.001, "
            "state noise off, discount 0.75, precision fp32, budget inf ms; execute every action 4 "
            "times"
        )


PLANS = {
    "icem": ICEMPlanner(horizon=5),
    "mppi": MPPIPlanner(horizon=5),
    "shooting": ShootingPlanner(horizon=5),
    "as published": ICEMPlanner(horizon=5, colour=2.5, numerics="icem", keep=2, output="mean"),
}


@pytest.mark.parametrize("name", PLANS)
def test_planners_of_every_kind_are_those_of_python_bit_for_bit(
    program: Path, tmp_path: Path, name: str
) -> None:
    problem, planner = MODELS["reward of four layers"], PLANS[name]
    expected = planner.plan(Imagination(problem.weights, problem.latent, low=-0.5), 3)
    write_latent(problem, tmp_path)
    files = ["--latent", tmp_path / "latent", "--output", tmp_path / "plan"]
    # From the file, and from a file of another planner with the name as an option.
    cases = [({"planner": name, **vars(planner.settings)}, [])]
    if name in PLANNERS:
        cases.append(({"horizon": 5}, ["--planner", name]))
    for settings, options in cases:
        save_weights(problem.weights, tmp_path / "w", {**settings, "low": -0.5})
        words = [*files, "--seed", "3", "--plans", "2", *options]
        output = run(program, tmp_path / "w", *words).stdout
        assert (tmp_path / "plan").read_bytes() == bits_of(expected)
        assert output.startswith(f"{name}: horizon 5, candidates {planner.settings.candidates}, ")
    additions = {
        "icem": ", colour 0.25 (unit), decay 1.25, keep 3, momentum 0.1, output best, shift repeat",
        "mppi": ", temperature 0.5, shift middle",
        "shooting": "",
        "as published": ", colour 2.5 (icem), decay 1.25, keep 2, momentum 0.1, shift repeat",
    }
    stddev = planner.settings.initial_stddev
    assert f", initial stddev {stddev:g}{additions[name]}, low -0.5, high 1, " in output


def test_settings_that_this_machine_cannot_obey_are_explained(
    program: Path, tmp_path: Path
) -> None:
    file = tmp_path / "model.weights"
    for settings, message in (
        ({"precision": "fp16"}, "precision: fp16 has no kernels on this kind of processor"),
        ({"low": [0.0]}, "lows: expected none or one per action, 2, got 1"),
        ({"topk": 5, "candidates": 4}, "topk: expected 1 to 4, got 5"),
        ({"topk": 9, "candidates": 30, "decay": 1.25}, "decay: expected at least 2 K = 18 candid"),
        ({"budget_ms": -1.0}, "budget_ms: expected a value > 0"),
    ):
        save_weights(MODELS["tiny"].weights, file, settings)
        done = run(program, file, status=None)
        assert (done.returncode, message in done.stderr) == (1, True)
    assert run(program, file, "--budget-ms", "inf", "--candidates", "50", "--topk", "5").stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its kernels are for x86-64")
@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_a_file_whose_precision_the_machine_lacks_says_what_is_missing(
    program: Path, tmp_path: Path, precision: str, name: str
) -> None:
    save_weights(MODELS["tiny"].weights, tmp_path / "w", {"precision": precision, "topk": 5})
    done = run(program, tmp_path / "w", "--isa", name, "--candidates", "9", status=None)
    with isa(name):
        info = fused._C.build_info()
    if precision in info["precisions"]:
        assert done.returncode == 0
        assert f", precision {precision}, " in done.stdout
        return
    sets = info["kernels"][precision]
    known = dict.fromkeys(sets, "this processor runs it, choose it by name") | info["refused"]
    reasons = "; ".join(f"{each}: {known[each]}" for each in sets)
    assert done.returncode == 1
    assert done.stderr == (
        f"plan: precision: {precision} needs the instruction set {' or '.join(sets)}, got {name} "
        f"({reasons})\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topk", "2000"], "topk: expected 1 to 1000, got 2000"),
        (["--threads", "0"], "threads: expected 1 to 1024, got 0"),
        (["--isa", "mmx"], "isa: expected one of"),
        (["--isa", ISAS[0] if ISAS else "", "--precision", "int8"], "precision: int8"),
        (["--planner", "pets"], "--planner: expected cem, icem, mppi or shooting, got pets"),
        (["--planner"], "--planner: expected a value"),
        (["--precision", "fp16"], "--precision: expected fp32, int8 or bf16, got fp16"),
        (["--seed"], "--seed: expected a value"),
        (["--seed", "x"], "--seed: expected an integer, got x"),
        (["--seed", "9223372036854775808"], "--seed: expected an integer, got 9223372036854775808"),
        (["--budget-ms", "x"], "--budget-ms: expected a number, got x"),
        (["--speed", "1"], "--speed: no such option"),
        (["--latent", os.devnull], "expected 8 float32 (D + S)"),
    ],
)
def test_wrong_arguments_are_explained(
    program: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    save_weights(MODELS["tiny"].weights, tmp_path / "model.weights")
    done = run(program, tmp_path / "model.weights", *arguments, status=None)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_file_that_is_no_weight_file_is_explained(program: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"PLANETCK" * 40)
    assert "magic: expected PLANETWF" in run(program, wrong, status=None).stderr
    for path in (tmp_path, tmp_path / "absent", Path("/dev/null")):
        done = run(program, path, status=None)
        assert done.returncode == 1
        assert f"plan: {path}: " in done.stderr


def test_the_program_needs_neither_python_nor_torch(program: Path) -> None:
    libraries = run("ldd", program).stdout if shutil.which("ldd") else ""
    assert "python" not in libraries and "torch" not in libraries


def test_every_header_compiles_alone_and_as_older_c(installed: Path, tmp_path: Path) -> None:
    for header in sorted((installed / "include" / "planet").iterdir()):
        (tmp_path / "one.cpp").write_text(f"#include <planet/{header.name}>\n")
        run(COMPILER, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
            f"-I{installed / 'include'}", tmp_path / "one.cpp")  # fmt: skip


def test_seeds_derived_in_c_are_those_of_python(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "seeds.cpp").write_text(
        "#include <planet/seeds.h>\n#include <cstdio>\n#include <cstdlib>\n"
        "int main(int, char** argv) { for (int b = 0; b < 5; ++b)\n"
        'std::printf("%lld\\n", (long long)planet::row_seed(std::atoll(argv[1]), b)); }\n'
    )
    program, include = tmp_path / "seeds", f"-I{installed / 'include'}"
    run(COMPILER, "-std=c++17", include, tmp_path / "seeds.cpp", "-o", program)
    for seed in (0, 1, -1, 2**63 - 1, -(2**63), 123456789):
        printed = run(program, str(seed)).stdout.split()
        assert [int(word) for word in printed] == row_seeds(seed, 5).tolist()


def test_the_package_has_the_version_of_the_python_package(installed: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    version = text.partition('\nversion = "')[2].partition('"')[0]
    packaged = next(installed.glob("lib*/cmake/planet/planet-config-version.cmake")).read_text()
    assert f'set(PACKAGE_VERSION "{version}")' in packaged
