"""`planet export`: the planner's weights of a run as a file for programs without Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from planet import advice
from planet.atomic import replaceable
from planet.cli.output import say
from planet.training.run import open_run
from planet.weight_file import save_weights
from planet.weights import RolloutWeights


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Writes the transition and reward model of a run's checkpoint into one file.

    C++ programs plan from it without Python and torch (csrc/weight_file.h, examples/cpp); in
    Python planet.weight_file.load_weights reads it. An existing file is replaced. Nothing in the
    run's directory is changed.
    """

    run_dir: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN_DIR", help="the run's directory"),
    ]
    file: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="FILE", help="the weight file to write"),
    ]


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = tyro.cli(ExportOptions, prog=f"{advice.program()} export", args=arguments)
    if not options.file.parent.is_dir():
        raise FileNotFoundError(
            f"file: expected a path in an existing directory, got {options.file}"
        )
    replaceable(options.file)
    trained = open_run(options.run_dir, device="cpu")
    weights = trained.agent.world_model.rollout_weights()
    save_weights(weights, options.file)
    say(
        f"{trained.config.environment.task}: weights after {trained.episodes} episodes and "
        f"{trained.updates} updates\n{_sizes(weights)}\n"
        f"written to {options.file} ({options.file.stat().st_size:,} bytes)"
    )
    return 0


def _sizes(weights: RolloutWeights) -> str:
    reward = "-".join(str(weight.shape[0]) for weight in weights.reward_weights)
    return (
        f"  {weights.transition}, belief {weights.belief_size}, state {weights.state_size}, action "
        f"{weights.action_size}, hidden {weights.hidden_size}, reward {reward}, "
        f"{weights.activation}"
    )
