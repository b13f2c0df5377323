"""Arithmetic that the processor lacks is refused by every command."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import train

pytest.importorskip("tyro", reason="the command line needs the train extra")

from ops.fused_support import needs_extension

from planet import build_info
from planet.cli import main
from planet.ops import kernels


@needs_extension
@pytest.mark.parametrize("precision", ["int8", "bf16"])
@pytest.mark.parametrize("command", ["train", "evaluate", "profile"])
def test_what_the_processor_does_not_run_is_refused_before_any_work(
    command: str, precision: str, trained: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(kernels, "_instruction_set", lambda extension: (0, ("fp32",)))
    chosen = ("--imagination.backend", "fused", "--imagination.precision", precision)
    needed = " or ".join(map(repr, build_info()["kernels"][precision]))
    arguments = {
        "train": train(tmp_path / "run", *chosen),
        "evaluate": ["evaluate", str(trained), *chosen],
        "profile": ["profile", str(trained), *chosen],
    }[command]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    refusal = f"planet {command}: precision: {precision!r} needs the instruction set {needed}, got "
    assert captured.err.startswith(refusal) and captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "run").exists()


@needs_extension
def test_a_run_collects_in_bf16_and_goes_on_without_its_kernels_by_the_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not build_info()["bf16"]:
        pytest.skip("no bf16 kernels")
    chosen = ("--imagination.backend", "fused", "--imagination.precision", "bf16")
    run = tmp_path / "run"
    assert main(train(run, *chosen)) == 0
    assert "bf16" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    monkeypatch.setattr(kernels, "_instruction_set", lambda extension: (0, ("fp32",)))
    more = [*train(run, *chosen), "--train.episodes", "6"]
    assert main(more) == 1
    assert "use precision='fp32', or use backend='reference'" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert main([*more, "--imagination.backend", "reference"]) == 0
    assert "6 episodes" in capsys.readouterr().out
