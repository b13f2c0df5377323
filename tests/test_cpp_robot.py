"""The C++ agent: whole episodes of recorded frames give Python's actions, and a paced loop."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from agents import make_agent
from conftest import ROOT
from cpp_examples import COMPILER, run
from ops.fused_support import BUILT, KERNELS, isa
from settings import TINY
from small_models import make_model
from toy_runs import make_trainer

from planet.acting.agent import Agent
from planet.diagnostics.packages import is_installed
from planet.envs import RenderingUnavailable, make
from planet.experiments.run import open_run
from planet.planning import SamplingPlanner
from planet.profiling import Stage
from planet.weights.file import save_weights

pytestmark = [
    pytest.mark.skipif(not (ROOT / "examples" / "cpp").is_dir(), reason="no source tree"),
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler"),
    pytest.mark.skipif(not BUILT, reason="nothing to compare with: the extension is not built"),
]

Array = npt.NDArray[np.float32]

PLANNER: dict[str, Any] = {
    "horizon": 3, "candidates": 40, "topk": 6, "iterations": 2, "initial_stddev": 0.75,
}  # fmt: skip
# Planners whose plans start from the one before.
WARM: dict[str, dict[str, Any]] = {
    "icem": {"horizon": 4, "candidates": 40, "topk": 6, "keep": 2},
    "mppi": {"horizon": 3, "candidates": 40, "iterations": 2, "topk": 12, "temperature": 0.02},
}
WORLDS: dict[str, dict[str, Any]] = {
    "toy-reach": {"image_size": 32, "control_steps": 300},
    "cartpole-swingup": {"image_size": 64, "quality": "fast", "control_steps": 1000},
}


@pytest.fixture(scope="module")
def robot(examples: Path) -> Path:
    return examples / "robot"


def agent_for(
    world: str, precision: str = "fp32", search: dict[str, Any] = PLANNER, **changes: Any
) -> Agent:
    """An agent with random weights of odd sizes for the frames and actions of a world."""
    size, actions = WORLDS[world]["image_size"], 2 if world == "toy-reach" else 1
    model = make_model(
        actions, size, scale=0.2, encoder_kernel=4, encoder_channels=(5, 18)[: size // 16],
        **changes,
    )  # fmt: skip
    return make_agent(
        model, low=-0.5, high=0.9, exploration_stddev=0.2, precision=precision, **search
    )


def export(agent: Agent, path: Path, **settings: Any) -> None:
    assert isinstance(agent.planner, SamplingPlanner)
    search = vars(agent.planner.settings)
    given = {"low": -0.5, "high": 0.9, "precision": agent.settings.precision, **search}
    save_weights(agent.weights, path, {**given, "exploration_stddev": 0.2, **settings})


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[tuple[str, Any]]:
    """A name, and the environment."""
    if request.param != "toy-reach" and not is_installed("dm_control"):
        pytest.skip("needs the train extra")
    try:
        environment = make(request.param, **WORLDS[request.param])
        environment.reset(seed=0)
    except RenderingUnavailable as error:
        pytest.skip(str(error))
    yield request.param, environment
    environment.close()


def episode(agent: Agent, environment: Any, seed: int, explore: bool) -> tuple[list[Array], ...]:
    """A whole episode, in which every third action is overridden; frames, actions, executed."""
    frames, actions, executed = [], [], []
    random = np.random.default_rng(seed)
    frame, _ = environment.reset(seed=seed)
    agent.reset(seed)
    ended = False
    while not ended:
        frames.append(frame)
        action = agent.act(frame, explore)
        actions.append(action)
        if len(frames) % 3 == 0:
            action = random.uniform(-1.0, 1.0, action.shape).astype(np.float32)
            agent.executed(action)
        executed.append(action)
        frame, _, terminated, truncated, _ = environment.step(action)
        ended = terminated or truncated
    return frames, actions, executed


@pytest.mark.parametrize("kernels", KERNELS, ids=" ".join)
def test_episodes_of_recorded_frames_give_the_actions_of_python_bit_for_bit(
    robot: Path, world: tuple[str, Any], tmp_path: Path, kernels: tuple[str, str]
) -> None:
    task, environment = world
    name, precision = kernels
    explore = precision == "fp32"
    with isa(name):
        # Half of them follow means of states, as the RNN does.
        design = {"activation": "elu" if explore else "relu", "stochastic": explore}
        agent = agent_for(task, precision, **design)
        frames, actions, executed = map(np.array, episode(agent, environment, 11, explore))
    assert len(frames) == WORLDS[task]["control_steps"] // environment.action_repeat
    assert len(np.unique(actions, axis=0)) > len(actions) // 2
    export(agent, tmp_path / "agent.weights")
    np.save(tmp_path / "frames.npy", frames)
    executed.tofile(tmp_path / "executed")
    for threads in "12":
        run(
            robot, tmp_path / "agent.weights", "--frames", tmp_path / "frames.npy",
            "--executed", tmp_path / "executed", "--actions", tmp_path / "actions", "--seed", "11",
            "--steps", len(frames), "--threads", threads, "--isa", name,
            *["--explore"][: int(explore)],
        )  # fmt: skip
        assert (tmp_path / "actions").read_bytes() == actions.tobytes()


def test_an_episode_that_is_over_begins_again_with_the_next_seed(
    robot: Path, tmp_path: Path
) -> None:
    agent = agent_for("toy-reach")
    frames = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), np.uint8)
    expected = []
    for seed, length in (-1, 7), (0, 7), (1, 4):
        agent.reset(seed)
        expected += [agent.act(frame) for frame in frames[:length]]
    export(agent, tmp_path / "agent.weights")
    frames.tofile(tmp_path / "frames")
    arguments = ["--frames", tmp_path / "frames", "--actions", tmp_path / "actions"]
    run(robot, tmp_path / "agent.weights", *arguments, "--seed", "-1", "--steps", "18")
    assert (tmp_path / "actions").read_bytes() == np.array(expected).tobytes()


def test_a_run_that_learned_whether_episodes_go_on_acts_as_in_python(
    robot: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tyro", reason="the command line needs the train extra")
    from planet.cli import main

    config = TINY.with_overrides({
        "model": {"continuation": True}, "imagination": {"backend": "fused"},
        "train": {"episodes": 3, "evaluation_interval": 0},
    })  # fmt: skip
    with make_trainer(config, tmp_path / "run") as trainer:
        trainer.run()
    agent = open_run(tmp_path / "run").agent
    assert agent.weights.rollout.continuation
    frames = np.random.default_rng(2).integers(0, 256, (9, 8, 8, 3), np.uint8)
    agent.reset(3)
    expected = np.array([agent.act(frame) for frame in frames])
    frames.tofile(tmp_path / "frames")
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "weights")]) == 0
    arguments = ["--frames", tmp_path / "frames", "--actions", tmp_path / "actions"]
    run(robot, tmp_path / "weights", *arguments, "--seed", "3", "--steps", "9")
    assert (tmp_path / "actions").read_bytes() == expected.tobytes()


@pytest.mark.parametrize("name", WARM)
def test_warm_steps_give_the_actions_of_python_bit_for_bit(
    robot: Path, tmp_path: Path, name: str
) -> None:
    def actions_of(**changes: Any) -> Array:
        agent = agent_for("toy-reach", search={"planner": name, **WARM[name], **changes})
        actions = []
        for seed in 5, 6:  # the second episode is cold again
            agent.reset(seed)
            actions += [agent.act(frame, explore=True) for frame in frames]
        export(agent, tmp_path / "agent.weights", planner=name)
        return np.array(actions)

    frames = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), np.uint8)
    cold, warm = actions_of(shift="none"), actions_of()
    same = (cold == warm).all(axis=1)
    assert same[[0, 6]].all() and not same.all()
    frames.tofile(tmp_path / "frames")
    arguments = ["--frames", tmp_path / "frames", "--actions", tmp_path / "actions", "--explore"]
    output = run(
        robot, tmp_path / "agent.weights", *arguments, "--seed", "5", "--steps", "12"
    ).stdout
    assert output.startswith(f"{name}: horizon ")
    assert (tmp_path / "actions").read_bytes() == warm.tobytes()


def test_the_steps_of_a_paced_loop_are_told_by_stage(robot: Path, tmp_path: Path) -> None:
    export(agent_for("toy-reach"), tmp_path / "agent.weights", action_repeat=4)
    arguments = ["--steps", "80", "--rate", "500", "--explore"]
    lines = run(robot, tmp_path / "agent.weights", *arguments).stdout.splitlines()
    assert "execute every action 4 times" in lines[0]
    assert lines[1].startswith("frames of 32 x 32, 1 threads, ")
    assert lines[1].endswith(", exploration stddev 0.2")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["stage"] == ["p50", "p95", "p99", "max", "CPU", "p50", "share"]
    names = ["act", "filter", "images", "encoder", "belief", "posterior", "plan", "rollouts",
             "selection", "refit", "explore", "around"]  # fmt: skip
    assert [name for name in rows if name in names] == names
    for p50, p95, p99, most, *_ in (rows[name] for name in names):
        assert 0 <= float(p50) <= float(p95) <= float(most)
        assert p99 == "-"  # of so few steps there is none
    assert "not done within 2 ms (500 Hz)" in lines[-2] + lines[-1]


PERCENTILES_OF_A_FILE = """
#include <fstream>

#include "latency.h"

int main(int, char** argv) {
  std::ifstream file(argv[1]);
  std::vector<double> values;
  for (double value; file >> value;) values.push_back(value);
  for (const double p : {50, 95, 99}) std::printf("%.17g ", percentile(values, p));
}
"""


def test_percentiles_are_those_of_a_profile(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "percentiles.cpp").write_text(PERCENTILES_OF_A_FILE)
    folders = [f"-I{installed / 'include'}", f"-I{ROOT / 'examples' / 'cpp'}"]
    program, source = tmp_path / "percentiles", tmp_path / "percentiles.cpp"
    run(str(COMPILER), "-std=c++17", *folders, source, "-o", program)
    draw = np.random.default_rng(0)
    for count in (5, 6, 71, 72, 367, 368, 1001):
        values = tuple(draw.lognormal(size=count).tolist())
        (tmp_path / "values").write_text(" ".join(map(repr, values)))
        got = list(map(float, run(program, tmp_path / "values").stdout.split()))
        found = Stage("act", values, values).percentiles.values()
        expected = [np.nan if one is None else one.value for one in found]
        np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "wrong.npy"], "wrong.npy: expected frames, uint8 [N, 32, 32, 3], got "),
        (["--frames", "floats.npy"], "floats.npy: expected frames, uint8 [N, 32, 32, 3], got "),
        (
            ["--frames", "raw"],
            "raw: expected frames of 32 x 32 pixels, a multiple of 3072 bytes, got 768",
        ),
        (["--frames", "absent"], "absent: cannot be opened"),
        (["--frames", "cut.npy"], "cut.npy: the file is truncated"),
        (
            ["--frames", "right.npy", "--executed", "raw"],
            "raw: expected an action of 2 float32 for each of 3 frames, got 768 bytes",
        ),
        (["--rate", "-1"], "--rate: expected 0 to 1000000, got -1"),
        (["--executed", "raw"], "--executed: expected --frames as well"),
        (["--steps", "0"], "--steps: expected 1 to 10000000, got 0"),
        (["--steps", str(2**63 - 1)], f"--steps: expected 1 to 10000000, got {2**63 - 1}"),
        (["--explore", "1"], "1: no such option"),
        (["--threads", "0"], "threads: expected 1 to 1024, got 0"),
    ],
)
def test_wrong_frames_and_arguments_are_explained(
    robot: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    for name, array in {
        "right": frames, "wrong": frames[:, :16, :16], "floats": frames / 1.0,
    }.items():  # fmt: skip
        np.save(tmp_path / f"{name}.npy", array)
    frames[0, :16, :16].tofile(tmp_path / "raw")
    # A header that goes on behind the end of the file.
    header = (tmp_path / "right.npy").read_bytes()[:128]
    (tmp_path / "cut.npy").write_bytes(header[:8] + struct.pack("<H", 118 + 2**10) + header[10:])
    export(agent_for("toy-reach"), tmp_path / "agent.weights")
    done = run(robot, "agent.weights", *arguments, status=None, cwd=tmp_path)
    assert done.returncode == 1
    assert f"robot: {message}" in done.stderr


def test_a_file_without_an_encoder_is_refused_by_name(robot: Path, tmp_path: Path) -> None:
    save_weights(agent_for("toy-reach").weights.rollout, tmp_path / "planner.weights")
    done = run(robot, tmp_path / "planner.weights", status=None)
    assert done.returncode == 1
    assert "robot: image_size: expected 1 to 1024, got 0: the file has no encoder" in done.stderr
