"""The smoke test sees kernels that are wrong, and says which."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu import smoke
from ops.cuda import emulated
from ops.fused_support import needs_extension

from planet.ops import fused

pytestmark = needs_extension
Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def main(*words: str) -> tuple[int, dict[str, Any]]:
        path = tmp_path / "smoke.json"
        given = ["smoke.py", "--device", "cpu", "--quick", "--output", str(path), *words]
        monkeypatch.setattr(sys, "argv", given)
        status = smoke.main()
        return status, json.loads(path.read_text())

    return main


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["portable", "persistent"])
def test_kernels_of_the_emulator_pass(
    run: Run, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated.stand_in(monkeypatch)
    monkeypatch.setattr(fused, "served_precisions", lambda device: tuple(smoke.TOLERANCES))
    status, found = run("--variants", variant)
    assert (status, found["wrong"]) == (0, [])
    plans = {what for _, _, what, _, _ in found["errors"] if "plan" in what}
    assert plans == {f"{variant} plan, best return", f"{variant} plan, 2 equal ones"}
    other = "persistent" if variant == "portable" else "portable"
    assert not any(other in entry[2] for entry in found["errors"])


def test_a_wrong_plan_is_named_and_the_rest_runs(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right, calls = fused.cem_plan, []

    def wrong(*arguments: Any, **settings: Any) -> Any:
        plan = right(*arguments, **settings)
        calls.append(1)  # as a kernel that is empty leaves it
        return replace(plan, best_return=plan.best_return * 0 + 3 * (len(calls) == 1))

    monkeypatch.setattr(fused, "cem_plan", wrong)
    status, found = run("--variants", "portable")
    assert status == 1
    assert all("portable plan, best return" in text for text in found["wrong"])
    served = len(fused.served_precisions("cpu")) - ("int8" in fused.served_precisions("cpu"))
    assert len(found["wrong"]) == 3 * served
    assert f"{3 * served} wrong of {21 * served} comparisons" in capsys.readouterr().out


def test_switched_off_persistent_kernels_are_not_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for why, asked in (("", True), ("it hung", False)):
        monkeypatch.setenv("PLANET_NO_PERSISTENT", why)
        status, found = run("--repeats", "1")
        assert (status, bool(found["refused"])) == (0, asked)  # no CPU has them


def test_clusters_are_counted_or_their_lack_explained() -> None:
    assert "'persistent' has no kernels on cpu" in smoke.clusters(torch.device("cpu"))


def test_a_device_that_failed_ends_it_with_what_was_found(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **settings: Any) -> Any:
        raise RuntimeError("cem_plan: unspecified launch failure\nwith more lines")

    monkeypatch.setattr(fused, "cem_plan", fails)
    status, found = run("--variants", "portable")
    assert status == 1
    assert "cem_plan: unspecified launch failure" in found["wrong"][0]
    assert len(found["errors"]) == 5  # rollouts and refit of the first case
