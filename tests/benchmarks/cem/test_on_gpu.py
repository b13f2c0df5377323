"""The GPU benchmark's own logic, on the CPU: what it checks, counts and reports."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cem import device_plans, on_gpu
from gpu.device_timing import DeviceSamples, interleave
from ops.fused_support import needs_extension

CPU = torch.device("cpu")
TINY = on_gpu.TINY
OURS = (*on_gpu.OURS, *on_gpu.PERSISTENT)


def measure(batch: int, told: list[str]) -> dict[str, Any]:
    variants = on_gpu.groups(batch, "yes", True)
    return on_gpu.measure(replace(TINY, batch=batch), CPU, variants, 0.01, told.append)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    told: list[str] = []
    found = {str(batch): measure(batch, told) for batch in (1, 3)}
    assert any("B=3, torch graph fp16: checked" in line for line in told)
    return found


@needs_extension
def test_every_variant_is_timed_or_its_absence_explained(results: dict[str, Any]) -> None:
    assert list(results) == ["1", "3"]
    for batch, result in results.items():
        json.dumps(result, allow_nan=False)
        timed = set(result["times"])
        assert {"fp32", "torch eager fp32", "torch graph tf32"} <= timed
        assert not timed & set(result["missing"])
        assert set(OURS) <= timed | set(result["missing"])
        assert result["size"]["batch"] == int(batch)
        for name, times in result["times"].items():
            assert 0 < times["p10_ms"] <= times["median_ms"] <= times["p90_ms"]
            expected = 2e-9 * result["size"]["multiply_adds"] / times["median_ms"]
            assert result["tflops"][name] == pytest.approx(expected)
        assert result["ratios"]["torch graph fp32 / fp32"] > 0
        assert set(result["product_tflops"]) == {"bf16", "fp16", "tf32"}


@needs_extension
def test_the_table_names_all_of_them(results: dict[str, Any]) -> None:
    text = "\n".join(on_gpu.lines(results))
    for name in (*OURS, "torch graph fp16"):
        assert name in text
    assert "not measured: precision: " in text  # fp16 on the CPU


@needs_extension
def test_wrong_returns_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = device_plans.fused.rollout_returns
    monkeypatch.setattr(
        device_plans.fused, "rollout_returns", lambda *a, **how: right(*a, **how) * 1.001
    )
    found = measure(1, [])
    assert "fp32" not in found["times"]
    assert found["missing"]["fp32"].startswith("returns are wrong by 1.0e-03")
    assert found["wrong"] == ["fp32"]
    assert "torch graph tf32" in found["times"]  # the others are


@needs_extension
def test_a_graph_that_leaves_its_outputs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle:
        def __init__(self, body: Any, device: torch.device) -> None:
            body()

        def replay(self) -> None:
            pass

    monkeypatch.setattr(device_plans, "capture", Idle)
    assert measure(1, [])["missing"]["fp32"] == "the graph's plan differs from the eager one"


@needs_extension
def test_figures_are_written_before_what_may_fail_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[dict[str, Any]] = []
    add = on_gpu.Measurement.add

    def fails(self: on_gpu.Measurement, names: tuple[str, ...]) -> int:
        if names == on_gpu.PERSISTENT:
            raise KeyboardInterrupt
        return add(self, names)

    monkeypatch.setattr(on_gpu.Measurement, "add", fails)
    with pytest.raises(KeyboardInterrupt):
        on_gpu.measure(TINY, CPU, on_gpu.groups(1, "no", True), 0.0, print, written.append)
    assert written[-1]["times"]["fp32"]["median_ms"] > 0


@needs_extension
def test_a_size_of_which_nothing_of_ours_is_timed_is_no_success(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["on_gpu.py", "--device", "cpu", "--quick", "--problems", "1", "--output"]
    monkeypatch.setattr(sys, "argv", [*words, str(tmp_path / "plans.json")])
    for ours, status in ((("fp32", "fp16"), 0), (("fp16",), 1)):  # no fp16 on the CPU
        monkeypatch.setattr(on_gpu, "OURS", ours)
        assert on_gpu.main() == status
    assert capsys.readouterr().out.splitlines()[-1] == "nothing of ours was timed, 1 wrong"
    both = {"1": {"times": {"fp16": {}}}, "64": {"missing": {}}}
    assert [line.split(":")[0] for line in on_gpu.untimed(both, "no")] == ["B=64"]
    assert len(on_gpu.untimed(both, "only")) == 2


def test_variants_are_chosen_by_number_of_problems_and_options() -> None:
    assert on_gpu.groups(1, "no", False) == [(*on_gpu.OURS, *on_gpu.TORCHS)]
    assert on_gpu.groups(64, "yes", True) == [
        ("fp32", "fp16", "bf16", "torch graph tf32", "torch graph fp16"),
        on_gpu.PERSISTENT, on_gpu.COMPILED,
    ]  # fmt: skip
    assert on_gpu.groups(1, "only", False) == [
        ("fp16", "torch graph tf32", "torch graph fp16"), on_gpu.COMPILED,
    ]  # fmt: skip


class Noted:
    def __init__(self, name: str, order: list[str]) -> None:
        self.name, self.order = name, order

    def prepare(self, index: int) -> None:
        self.order.append(f"{self.name}{index}")

    def run(self) -> None:
        self.order.append(self.name)


def test_inputs_rotate_and_rounds_alternate_in_order() -> None:
    order: list[str] = []
    calls = {name: Noted(name, order) for name in "ab"}
    samples = interleave(calls, CPU, 0.0, sets=2, least=2, warm_up=1)
    assert order == ["a0", "a", "b0", "b", "b1", "b", "a1", "a", "a0", "a", "b0", "b"]
    assert samples.summary("a")["rounds"] == 2


def test_ratios_are_of_the_same_round() -> None:
    samples = DeviceSamples({"slow": [3.0, 8.0, 100.0], "fast": [1.0, 4.0, 10.0]})
    assert samples.ratio("slow", "fast") == 3.0
    assert samples.summary("fast")["median_ms"] == 4.0
