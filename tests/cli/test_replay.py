"""`planet replay` and `planet fit` from end to end, on the episodes of a small run."""

from pathlib import Path

import pytest
from small_run import SMALL

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("gymnasium", reason="the command line needs the train extra")

from planet.cli import main

ONLY = ("--model.", "--imagination.", "--train.batch-size", "--train.chunk-length",
        "--train.backend")  # fmt: skip
SIZES = [
    word
    for option, value in zip(SMALL, SMALL[1:], strict=False)
    if option.startswith(ONLY)
    for word in (option, value)
]


def test_a_runs_episodes_become_arrays_data_and_another_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, data, run = (str(tmp_path / name) for name in ("arrays", "data", "run"))
    assert main(["replay", "export", str(trained), arrays]) == 0
    assert main(["replay", "import", arrays, data]) == 0
    told = f"5 episodes written to {arrays}\n5 episodes written to {data}\n"
    assert capsys.readouterr().out == told
    for path in Path(data).iterdir():
        assert path.read_bytes() == (trained / "episodes" / path.name).read_bytes()
    fit = ["fit", "--data", data, "--directory", run, "--preset", "small", *SIZES]
    assert main([*fit, "--updates", "3"]) == 0
    told = capsys.readouterr().out
    assert "toy-reach: 4 episodes to learn from, 1 held out" in told
    assert "errors of open-loop predictions on 1 held-out chunks:\ndistance" in told
    assert main(["fit", "--data", data, "--directory", run]) == 0  # as it was
    assert main(["export", run, str(tmp_path / "agent.weights")]) == 0
    options = ["--episodes", "1", "--no-video", "--planner.candidates", "8", "--planner.topk", "4"]
    assert main(["evaluate", run, *options]) == 0
    capsys.readouterr()
    assert main(["replay", "export", str(trained), arrays]) == 1
    assert "holds episode-000000.npz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train.episodes", "99"], "train.episodes: expected none, as the data decide it, got"),
        (["--updates", "3", "--train.initial-updates", "4"], "train.initial_updates, got both"),
        (["--high", "0.001"], "give the box as low and high"),
        (["--train.chunk-length", "20"], "train.chunk_length: expected at most 7"),
    ],
)
def test_wrong_options_of_fit_are_explained(
    trained: Path, tmp_path: Path, options: list[str], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    given = ["fit", "--data", str(trained), "--directory", str(run), "--preset", "small"]
    assert main([*given, *options]) == 1
    assert message in capsys.readouterr().err
    assert not run.exists()
