"""`planet evaluate`: scores of a trained agent, its learning curve and a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from planet import advice
from planet.atomic import replaceable
from planet.cli.progress import make_progress
from planet.replay import Episode
from planet.training.collect import Environment
from planet.training.evaluate import (
    Score,
    agent_maker,
    baselines,
    play,
    score,
    score_table,
    write_scores,
)
from planet.training.plots import plot_learning_curve
from planet.training.progress import Progress, guarded
from planet.training.run import Run, open_environment, open_run
from planet.training.threads import cpu_threads
from planet.training.video import check_pieces, imagine_episode, write_video


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Scores the agent of a run on noise-free episodes whose seeds training never uses.

    Writes scores.json, learning_curve.png and evaluation.mp4 (real frame, reconstruction and
    open-loop prediction side by side) into the run's directory.
    """

    run_dir: Annotated[
        Path,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN_DIR", help="the run's directory"),
    ]
    episodes: int = 10  # of every policy
    seed: int | None = None  # of the evaluation; None: the run's, as in its own evaluations
    baselines: bool = False  # also score random actions, zero actions and the untrained planner
    video: bool = True  # of the first episode
    context: int = 5  # video: frames that are seen before each open-loop prediction
    length: int = 50  # video: frames until the prediction starts anew
    device: str | None = None  # None: the run's
    backend: Literal["fused", "reference"] | None = None  # of the planner; None: the run's
    precision: Literal["fp32", "int8", "fp16", "bf16"] | None = (
        None  # of the planner; None: the run's
    )
    budget_ms: float | None = None  # of a plan; None: the run's
    variant: Literal["portable", "persistent"] | None = None  # of CUDA kernels; None: the run's


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = tyro.cli(EvaluateOptions, prog=f"{advice.program()} evaluate", args=arguments)
    trained = open_run(
        options.run_dir, options.device, options.backend, options.precision, options.budget_ms,
        options.variant,
    )  # fmt: skip
    directory = trained.directory
    written = {"scores": directory / "scores.json", "curve": directory / "learning_curve.png"}
    if options.video:
        written["video"] = directory / "evaluation.mp4"
        check_pieces(options.context, options.length)
    for path in written.values():
        replaceable(path)
    trained.agent.planner.try_out(trained.agent.weights)
    task = trained.config.environment.task
    plot_learning_curve(directory, written["curve"], f"{task}, seed {trained.config.train.seed}")
    seed = trained.config.train.seed if options.seed is None else options.seed
    environment = open_environment(trained)
    progress = guarded(make_progress())
    planner = trained.config.planner
    budget = "" if planner.budget_ms is None else f", budget {planner.budget_ms:g} ms"
    progress.message(
        f"{task}: agent after {trained.environment_steps:,} environment "
        f"steps, {trained.episodes} episodes and {trained.updates} updates; "
        f"{options.episodes} episodes without noise, seed {seed}; "
        f"planner {planner.backend} {planner.precision}{budget}"
    )
    try:
        with cpu_threads(trained.config.train.threads):
            scores, first = _score_all(options, trained, environment, seed, progress)
    finally:
        progress.finish()
        environment.close()
    write_scores(written["scores"], trained, seed, scores)
    progress.message(score_table(scores))
    if options.video:
        imagined = imagine_episode(
            trained.agent.world_model, first, options.context, options.length
        )
        write_video(written["video"], first, imagined, environment.metadata["render_fps"])
    for name, path in written.items():
        progress.message(f"{name:7} {path}")
    return 0


def _score_all(
    options: EvaluateOptions, trained: Run, environment: Environment, seed: int, progress: Progress
) -> tuple[list[Score], Episode]:
    """The scores, and the agent's first episode."""
    played = play(environment, agent_maker(trained.agent), options.episodes, seed, progress)
    scores = [score("agent", played, trained.environment_steps)]
    if options.baselines:
        for name, make_policy in baselines(trained.config, trained.actions).items():
            others = play(environment, make_policy, options.episodes, seed, progress, name)
            scores.append(score(name, others))
    return scores, played[0]
