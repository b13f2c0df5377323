"""`planet evaluate`: scores a trained agent and films it, or scores planning on the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import tyro

from planet import envs
from planet.cli.options import parse_options, told, told_imagination
from planet.cli.progress import make_progress
from planet.config import ActingConfig, Config
from planet.errors import advice
from planet.experiments.evaluate import baselines, score_table, write_scores
from planet.experiments.plots import plot_learning_curve
from planet.experiments.run import Run, open_environment, open_run
from planet.experiments.simulated import score_on_simulator
from planet.experiments.video import check_pieces, film
from planet.replay import Episode
from planet.storage.atomic import replaceable
from planet.training.collect import Environment, try_out
from planet.training.progress import Progress, guarded
from planet.training.score import Score, play, score
from planet.training.threads import cpu_threads

_RUN = tyro.conf.arg(
    metavar="[RUN_DIR]", help="the run's directory; without one, see --task", help_behavior_hint=""
)
_TASK = tyro.conf.arg(
    metavar="TASK",
    help="without a run: plan in this task of the DM Control Suite with --planner.scorer simulator",
    help_behavior_hint="",
)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ActingConfig):
    """Scores the agent of a run on noise-free episodes whose seeds training never uses.

    Writes scores.json, learning_curve.png and evaluation.mp4 (real frame, reconstruction and
    open-loop prediction side by side) into the run's directory. Settings that are not given are the
    run's; --planner NAME chooses another planner and the defaults of its own settings. With
    --planner.scorer simulator and --task, scores planning on the true simulator: there is no run,
    and nothing is learned, drawn or written.
    """

    run_dir: Annotated[Path | None, tyro.conf.Positional, _RUN] = None
    task: Annotated[str | None, _TASK] = None
    episodes: int = 10  # episodes of every policy
    seed: int | None = None  # of the episodes; None: the run's, as in its own evaluations, or 0
    baselines: bool = False  # also score random actions, zero actions and the untrained planner
    video: bool = True  # film the agent's first episode; off for runs that see no pictures
    context: int = 5  # video: frames that the model sees before each prediction
    length: int = 50  # video: frames until the next prediction starts


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    options = parse_options("evaluate", arguments, _default)
    if options.planner.scorer == "simulator":
        return _run_on_simulator(options)
    if options.run_dir is None:
        raise ValueError(
            "run_dir: expected the directory of a run, got none; to plan without one, give "
            "--planner.scorer simulator and --task"
        )
    if options.task is not None:
        raise ValueError(f"task: expected none, a run has its own, got {options.task!r}")
    trained = open_run(options.run_dir, options.overrides())
    directory = trained.directory
    written = {"scores": directory / "scores.json", "curve": directory / "learning_curve.png"}
    if options.video:
        if "image" not in trained.spec.observation:
            names = [*trained.spec.observation]
            raise ValueError(f"video: expected a run on pixels, or --no-video, got one on {names}")
        written["video"] = directory / "evaluation.mp4"
        check_pieces(options.context, options.length)
    for path in written.values():
        replaceable(path)
    try_out(trained.policy, trained.spec)
    task = trained.config.environment.task
    plot_learning_curve(directory, written["curve"], f"{task}, seed {trained.config.train.seed}")
    seed = trained.config.train.seed if options.seed is None else options.seed
    environment = open_environment(trained)
    progress = guarded(make_progress())
    progress.message(
        f"{task}: agent after {trained.environment_steps:,} environment "
        f"steps, {trained.episodes} episodes and {trained.updates} updates; "
        f"{options.episodes} episodes without noise, seed {seed}; "
        f"{told(options.planner)}, {told_imagination(trained.agent)}"
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
        film(trained.policy, first, written["video"], environment.metadata["render_fps"],
             options.context, options.length)  # fmt: skip
    for name, path in written.items():
        progress.message(f"{name:7} {path}")
    return 0


def _default(config: Config) -> EvaluateOptions:
    seen = config.environment.observe != "vectors"  # else there is nothing to film
    return EvaluateOptions(**vars(ActingConfig.of(config)), video=seen)


def _run_on_simulator(options: EvaluateOptions) -> int:
    """Scores planning on the simulator of a task, without a run."""
    if options.run_dir is not None:
        raise ValueError(
            "planner.scorer: expected 'model' for the agent of a run, got 'simulator'; the two are "
            f"compared by: {advice.program()} diagnose {options.run_dir}"
        )
    if options.task is None:
        raise ValueError("task: expected one of the DM Control Suite, as cheetah-run, got none")
    _check_unused(options)
    seed = 0 if options.seed is None else options.seed
    progress = guarded(make_progress())
    with (
        closing(envs.make(options.task, observe="vectors")) as environment,
        cpu_threads(options.train.threads),
    ):
        progress.message(
            f"{options.task}: planning on the true simulator; {options.episodes} episodes, "
            f"seed {seed}; {told(options.planner)}"
        )
        try:
            scores = score_on_simulator(
                environment, options.planner, options.episodes, seed, progress,
                baselines=options.baselines,
            )  # fmt: skip
        finally:
            progress.finish()
    progress.message(score_table(scores))
    return 0


def _check_unused(options: EvaluateOptions) -> None:
    """Refuses settings that have no effect where no model is rolled out and no video made."""
    unset = EvaluateOptions()
    names = [f"imagination.{name}" for name in vars(unset.imagination)]
    for name in [*names, "train.device", "context", "length"]:
        value = attrgetter(name)(options)
        if value != attrgetter(name)(unset):
            raise ValueError(
                f"{name}: expected none with planner.scorer=simulator, where no model is rolled "
                f"out and no video made, got {value!r}"
            )


def _score_all(
    options: EvaluateOptions, trained: Run, environment: Environment, seed: int, progress: Progress
) -> tuple[list[Score], Episode]:
    """Plays every policy; returns the scores, and the agent's first episode."""
    played = play(environment, trained.policy, options.episodes, seed, progress)
    scores = [score("agent", played, trained.environment_steps)]
    if options.baselines:
        for name, policy in baselines(trained.config, trained.spec).items():
            others = play(environment, policy, options.episodes, seed, progress, name)
            scores.append(score(name, others))
    return scores, played[0]
