"""Kills and damages a toy run in every way; prints figures, and what was lost (`make durability`).

python -m durability [--seed N] [--kills 100] [--points N] [--damages 1000]    in tests/
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from durability.toy_run import Workplace, damaged, killed_at_point, killed_at_random

Case = tuple[str, str, str, str]  # part, what was done, outcome, what to show


def cases(
    place: Workplace, seed: int, kills: int, points: int | None, damages: int
) -> Iterator[Case]:
    for index in range(kills):
        ended = killed_at_random(place, random.Random(f"kill {seed} {index}"))
        yield "killed at random moments", f"kill {index}", *ended
    everywhere = [(point, torn) for torn in (False, True) for point in range(1, place.points + 1)]
    generator = random.Random(f"points {seed}")
    for point, torn in everywhere if points is None else generator.sample(everywhere, points):
        part = "killed at operations on files" + (", writes torn" if torn else "")
        yield part, f"point {point}", *killed_at_point(place, point, torn)
    for index in range(damages):
        what, *ended = damaged(place, random.Random(f"damage {seed} {index}"))
        yield "damaged", f"{what} ({index})", ended[0], ended[1]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="durability", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--points", type=int, help="as many, drawn from all; without it all")
    parser.add_argument("--damages", type=int, default=1000)
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    sentences: dict[str, str] = {}
    lost = []
    began = time.perf_counter()
    place = Workplace()
    try:
        for part, what, ended, shown in cases(place, **vars(options)):
            counts[part][ended] += 1
            if part == "damaged":
                kinds[what.partition(":")[0]][ended] += 1
            if ended == "refused":
                sentences.setdefault(what.partition(" (")[0], shown)
            if ended == "lost":
                lost.append(f"{what}: {shown}")
                say(f"LOST {lost[-1]}")
    finally:
        place.close()
    for what, shown in sorted(sentences.items()):
        say(f"{what}: {shown[:300]}")
    say(f"seed {options.seed}, {time.perf_counter() - began:.0f} s")
    for table in (kinds, counts):
        say(f"{'':50} {'cases':>6} {'equal':>6} {'refused':>8} {'lost':>5}")
        for part, count in table.items():
            numbers = f"{count['equal']:6} {count['refused']:8} {count['lost']:5}"
            say(f"{part:50} {sum(count.values()):6} {numbers}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
