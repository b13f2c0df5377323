"""A run of the toy task that trains within a second, for tests of the commands."""

from __future__ import annotations

from pathlib import Path

STEPS = 6
SMALL = f"""
    --preset small --task toy-reach --environment.image-size 8 --environment.render-size 8
    --environment.control-steps {STEPS} --model.state-size 3 --model.belief-size 5
    --model.hidden-size 7 --model.encoder-channels 4 --model.decoder-hidden 9
    --model.reward-hidden 8 --planner.horizon 3 --planner.candidates 10 --planner.iterations 2
    --planner.topk 3 --imagination.backend reference --train.backend reference
    --train.batch-size 3 --train.chunk-length 4
    --train.initial-updates 5 --train.updates-per-episode 3 --train.evaluation-interval 2
    --train.evaluation-episodes 2 --train.seed-episodes 2 --train.episodes 5
    --train.learning-rate 0.001
""".split()


def train(directory: Path, *more: str) -> list[str]:
    return ["train", "--directory", str(directory), *SMALL, *more]
