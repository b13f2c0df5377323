"""Compares both backends with golden vectors of an independent float64 NumPy program."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from golden import make_golden
from golden.make_golden import CASES, Case
from golden.search import mix, refit
from ops.fused_support import each_set_of, isa
from ops.tolerances import (
    FLOOR,
    HALF_FUNCTIONS,
    HALF_MEDIAN,
    HALF_RMS,
    INT8_MEDIAN,
    INT8_RMS,
    NORMAL_ABSOLUTE,
    NORMAL_RELATIVE,
    PLAN_ABSOLUTE,
    RETURNS,
    close,
    half_errors,
    int8_errors,
    returns_error,
)
from processes import python, variables
from random_weights import PRESET_SIZES

from planet.config.presets import PRESETS
from planet.latent import LatentState
from planet.noise import Noise, mix_seed, normals, words
from planet.ops import fused, reference
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import arguments, layouts

FOLDER = Path(make_golden.__file__).parent
FLOAT32 = [name for name, case in CASES.items() if case.precision == "fp32"]
INT8 = [name for name, case in CASES.items() if case.precision == "int8"]
BF16 = [name for name, case in CASES.items() if case.precision == "bf16"]


def stored(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def snapshot(case: Case) -> RolloutWeights:
    tensors = {k: torch.from_numpy(v) for k, v in make_golden.case_weights(case).items()}
    transition = "rssm" if case.belief else "ssm"
    names = layouts(transition, len(case.reward) + 1, case.continuation)
    return RolloutWeights(
        transition=transition,
        **arguments({name: tensors[name.replace("[", ".").strip("]")] for name in names}),
        activation=case.activation,
        stddev=case.stddev,
        min_stddev=case.min_stddev,
    )


def inputs(case: Case) -> tuple[LatentState, torch.Tensor, torch.Tensor]:
    values = make_golden.case_inputs(case)
    latent = LatentState(torch.from_numpy(values["belief"]), torch.from_numpy(values["state"]))
    return (
        latent,
        torch.from_numpy(values["actions"]),
        torch.from_numpy(values["seeds"].view(np.int64)),
    )


def bound(value: tuple[float, ...] | float) -> float | torch.Tensor:
    return torch.tensor(value) if isinstance(value, tuple) else value


def search_settings(case: Case, iterations: int) -> dict[str, Any]:
    """Returns the arguments that make a search of the plain method, for the first iterations."""
    mixing, kept = mix(case), torch.from_numpy(make_golden.case_inputs(case)["kept"])
    settings: dict[str, Any] = {
        "candidates": list(case.counts[:iterations]) or case.candidates,
        "mix": None if mixing is None else torch.from_numpy(mixing),
        "keep": case.keep,
        "kept": kept if case.warm else None,
        "momentum": case.momentum,
        "temperature": case.temperature,
        "output": case.output,
    }
    return settings


def rollout(ops: ModuleType, name: str, noisy: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns of a backend and the golden ones."""
    case = CASES[name]
    latent, actions, seeds = inputs(case)
    noise = Noise(seeds, iteration=5, particle=2) if noisy else None
    got = ops.rollout_returns(
        snapshot(case), latent, actions, noise, discount=case.discount, precision=case.precision
    )
    return got, torch.from_numpy(stored(name)["returns_noise" if noisy else "returns_mean"])


@pytest.mark.parametrize("name", FLOAT32)
def test_returns_match_golden(
    ops: ModuleType, name: str, report_error: Callable[[str, float, float], None]
) -> None:
    for noisy in (True, False):
        got, expected = rollout(ops, name, noisy)
        report_error("returns", returns_error(got, expected), RETURNS[CASES[name].scale])


@pytest.mark.parametrize("name", INT8)
def test_int8_returns_match_golden(
    int8_ops: ModuleType, name: str, report_error: Callable[[str, float, float], None]
) -> None:
    for noisy in (True, False):
        got, expected = rollout(int8_ops, name, noisy)
        median, rms = int8_errors(got, expected)
        report_error("median", median, INT8_MEDIAN)
        report_error("rms", rms, INT8_RMS)


@pytest.mark.parametrize("case", BF16)
def test_bf16_returns_match_golden(case: str) -> None:
    for noisy in (True, False):
        median, rms = half_errors(*rollout(reference, case, noisy))
        assert median <= HALF_MEDIAN
        assert rms <= HALF_RMS["bf16"]


@each_set_of("bf16")
@pytest.mark.parametrize("case", BF16)
def test_bf16_kernels_match_golden(name: str, case: str) -> None:
    for noisy in (True, False):
        with isa(name):
            got, expected = rollout(fused, case, noisy)
        assert max(half_errors(got, expected)) <= HALF_FUNCTIONS["bf16"]


@pytest.mark.parametrize("name", FLOAT32)
def test_plan_matches_golden_after_every_iteration(
    ops: ModuleType, name: str, report_error: Callable[[str, float, float], None]
) -> None:
    case, golden = CASES[name], stored(name)
    latent, _, seeds = inputs(case)
    start = torch.zeros(case.horizon, case.batch, case.action)
    assert golden["gap"].min() > 10 * RETURNS[case.scale]  # the elites are the same beyond doubt
    for iterations in range(1, case.iterations + 1):
        plan = ops.cem_plan(
            snapshot(case), latent, start, torch.full_like(start, case.initial_stddev),
            seed=seeds, topk=case.topk, iterations=iterations,
            first_iteration=case.first_iteration, low=bound(case.low), high=bound(case.high),
            spread=case.spread, epsilon=case.epsilon, state_noise=case.state_noise,
            discount=case.discount, **search_settings(case, iterations),
        )  # fmt: skip
        last = iterations - 1
        for field in {"mean", "stddev", "kept", "action"} & golden.keys():
            error = getattr(plan, field).double() - torch.from_numpy(golden[field][last])
            report_error(field, error.abs().max().item(), PLAN_ABSOLUTE)
        error = np.abs(plan.best_return.double().numpy() - golden["best"][last])
        error /= np.maximum(golden["rms"][last], FLOOR)
        report_error("best_return", error.max(), RETURNS[case.scale])
        assert case.output == "best" or torch.equal(plan.action, plan.mean[0])
        assert plan.kept.shape == (*start.shape[:2], case.keep, case.action)
        assert plan.iterations == iterations


@pytest.mark.parametrize("name", FLOAT32)
def test_refit_chooses_the_golden_elites(ops: ModuleType, name: str) -> None:
    case, golden = CASES[name], stored(name)
    returns = golden["returns_noise"]
    _, actions, _ = inputs(case)
    how = {
        "topk": case.topk, "spread": case.spread, "epsilon": case.epsilon,
        "temperature": case.temperature,
    }  # fmt: skip
    fitted = ops.refit(actions, torch.from_numpy(returns).float(), **how)
    for b in range(case.batch):
        problem = actions[:, b].double().numpy()
        mean, stddev, elites = refit(problem, returns[b].astype(np.float32), case)
        assert fitted.elites[b].tolist() == elites
        assert close(fitted.mean[:, b], torch.from_numpy(mean), 1e-7)
        assert close(fitted.stddev[:, b], torch.from_numpy(stddev), 1e-7)


def test_random_numbers_match_golden() -> None:
    golden = stored("random_numbers")
    for row, seed in enumerate(int(s) for s in golden["seeds"]):
        mixed = [mix_seed(seed, word) % 2**64 for word in range(4)]
        assert mixed == golden["splitmix"][row].tolist()
        seeds = torch.tensor([seed - 2**64 if seed >= 2**63 else seed])
        for column, place in enumerate(golden["places"]):
            stream, time, iteration, particle = (int(x) for x in place)
            at = {"stream": stream, "time": time, "iteration": iteration, "particle": particle}
            word = words(seeds, 12, 5, **at)[0]
            assert np.array_equal(word.numpy(), golden["words"][row, column].astype(np.int64))
            expected = torch.from_numpy(golden["normals"][row, column])
            got = normals(seeds, 11, 5, **at)[0]
            assert close(got, expected, NORMAL_ABSOLUTE, NORMAL_RELATIVE)


@pytest.mark.parametrize("name", list(PRESET_SIZES))
def test_a_case_and_a_test_size_has_each_preset_s_sizes(name: str) -> None:
    model, case, sizes = PRESETS[name]("cheetah-run").model, CASES[name], PRESET_SIZES[name]
    expected = (
        model.belief_size, model.state_size, model.hidden_size,
        (model.reward_hidden,) * model.reward_layers,
    )  # fmt: skip
    assert (case.belief, case.state, case.hidden, case.reward) == expected
    assert (sizes.belief, sizes.state, sizes.hidden, sizes.reward) == expected
    assert (case.activation, case.min_stddev) == (model.activation, model.min_stddev)


def test_the_script_reproduces_the_stored_files(tmp_path: Path) -> None:
    environment = variables(OPENBLAS_NUM_THREADS="1")
    python("-m", "golden.make_golden", "--output", tmp_path, env=environment, cwd=FOLDER.parent)
    names = {path.name for path in FOLDER.glob("*.npz")}
    assert names == {path.name for path in tmp_path.glob("*.npz")}
    assert names == {f"{name}.npz" for name in (*CASES, "random_numbers")}
    for name in sorted(names):
        with np.load(tmp_path / name) as fresh:
            old = stored(Path(name).stem)
            assert sorted(fresh.files) == sorted(old)
            for key in fresh.files:
                # Another NumPy may sum a product in another order: float64 rounding, no more.
                np.testing.assert_allclose(fresh[key], old[key], rtol=1e-10, atol=1e-12)


def test_the_script_imports_neither_planet_nor_torch() -> None:
    imported = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    assert imported == {"__future__", "argparse", "dataclasses", "golden", "pathlib", "numpy"}
