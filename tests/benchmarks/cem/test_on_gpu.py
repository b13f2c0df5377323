"""The GPU benchmark's own logic, on the CPU: what it checks, counts and reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from cem import on_gpu
from cem.cases import Size
from gpu.device_timing import DeviceSamples, interleave
from ops.fused_support import needs_extension

CPU = torch.device("cpu")
TINY = Size(3, 2, 40, 4, 2, 10, 4, 12, (8, 8))


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    told: list[str] = []
    found = on_gpu.measure(CPU, TINY, [1, 3], 0.01, True, told.append)
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
        assert set(on_gpu.OURS) <= timed | set(result["missing"])
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
    for name in (*on_gpu.OURS, "torch graph fp16"):
        assert name in text
    assert "not measured: precision: " in text  # fp16 on the CPU


@needs_extension
def test_wrong_returns_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = on_gpu.fused.rollout_returns
    monkeypatch.setattr(on_gpu.fused, "rollout_returns", lambda *a, **how: right(*a, **how) * 1.001)
    with pytest.raises(SystemExit, match="fp32: returns are wrong by 1.0e-03, not timed"):
        on_gpu.measure_size(TINY, CPU, 0.0, False, lambda text: None)


@needs_extension
def test_a_graph_that_leaves_its_outputs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle:
        def __init__(self, body: Any, device: torch.device) -> None:
            body()

        def replay(self) -> None:
            pass

    monkeypatch.setattr(on_gpu, "capture", Idle)
    with pytest.raises(SystemExit, match="fp32: the graph's plan differs from the eager one"):
        on_gpu.measure_size(TINY, CPU, 0.0, False, lambda text: None)


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
