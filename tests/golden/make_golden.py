"""Golden vectors: the planner's contract in float64 NumPy, without `planet` and without torch.

An independent second writing of the equations: Philox4x32-10, SplitMix64, Box-Muller normals, the
RSSM prior, the SSM, the reward head, int8 and bf16 products, the refit, the cross-entropy method
and its relatives. Each case stores the results only; weights, latents, actions and noise are made
anew from the case's seed by `case_inputs`, so the files stay small. Written for clarity, not for
speed.

    cd tests
    python -m golden.make_golden                       # writes the files beside this script
    python -m golden.make_golden --output FOLDER CASE...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from golden.model import Case, returns_of_problem
from golden.random_numbers import STREAM_STATE, normals, philox4x32_10, splitmix64
from golden.search import search_problem

# Of returns K and K+1, relative to the rms return: 50 x the tolerance. A case with less is refused
# and needs another seed, because float32 cannot be told from a mistake there.
SMALLEST_GAP = 1e-4

TINY = {"belief": 5, "state": 3, "action": 1, "hidden": 7, "horizon": 5, "candidates": 13}
SSM = {"belief": 0}
SMALL = {"belief": 100, "state": 20, "hidden": 100, "reward": (100,)}
CASES: dict[str, Case] = {
    "paper": Case(seed=1, candidates=200, topk=20),
    "official": Case(seed=302, reward=(300, 300, 300), candidates=100, topk=10),
    "small": Case(
        seed=3, **SMALL, activation="elu", candidates=300, topk=30, iterations=5, batch=3
    ),
    "paper_2x": Case(seed=104, scale=2.0),
    "paper_3x": Case(seed=5, scale=3.0),
    "paper_elu": Case(seed=6, activation="elu", action=21),
    "small_elu_discount": Case(seed=107, **SMALL, activation="elu", discount=0.9),
    "small_mean_absolute": Case(seed=8, **SMALL, spread="mean_absolute", topk=7, iterations=3),
    "small_mean_state": Case(seed=9, **SMALL, state_noise=False, initial_stddev=0.4),
    "small_bounds": Case(
        seed=10, **{**SMALL, "action": 3}, low=(-0.5, -2.0, 0.0), high=(0.25, 2.0, 0.125),
        epsilon=1e-3, min_stddev=0.01, first_iteration=7,
    ),
    "small_per_candidate": Case(seed=11, **SMALL, per_candidate=True),
    "tiny_linear_reward": Case(seed=12, **TINY, reward=(), topk=4, iterations=3, batch=1),
    "tiny_uneven_reward": Case(seed=13, **TINY, reward=(9, 4, 17), topk=1, batch=5, scale=2.0),
    "small_clamp": Case(seed=22, **SMALL, activation="elu", stddev="clamp", min_stddev=0.7),
    "ssm": Case(seed=14, **SSM, candidates=200, topk=20),
    "ssm_elu_discount": Case(
        seed=15, **SSM, state=20, hidden=100, reward=(100, 50, 25), activation="elu", discount=0.9,
        iterations=3,
    ),
    "ssm_per_candidate": Case(
        seed=216, **SSM, state=20, hidden=64, reward=(64,), per_candidate=True,
    ),
    "tiny_ssm_linear_reward": Case(seed=17, **TINY | SSM, reward=(), topk=4, batch=3),
    "small_icem": Case(
        seed=31, **SMALL, activation="elu", candidates=46, counts=(46, 36, 29), topk=10,
        iterations=3, initial_stddev=0.5, colour=0.25, keep=3, momentum=0.1, output="best",
    ),
    "small_mppi": Case(
        seed=132, **SMALL, candidates=128, topk=64, iterations=3, temperature=0.5,
    ),
    "small_warm": Case(
        seed=33, **SMALL, candidates=40, topk=8, iterations=3, keep=4, warm=True, batch=3,
    ),
    "small_warm_bounds": Case(
        seed=34, **{**SMALL, "action": 3}, low=(-0.5, -2.0, 0.0), high=(0.25, 2.0, 0.125),
        epsilon=1e-3, first_iteration=7, candidates=50, counts=(50, 20, 32), topk=12, iterations=3,
        colour=1.5, keep=5, warm=True, momentum=0.4, temperature=0.2, output="best",
    ),
    "tiny_all_elites": Case(
        seed=35, **TINY, reward=(9,), topk=13, iterations=3, batch=3, scale=2.0, colour=2.5,
        state_noise=False, temperature=0.3,
    ),
    "ssm_icem": Case(
        seed=36, **SSM, state=20, hidden=100, reward=(100, 50), candidates=64,
        counts=(64, 51, 40), topk=10, iterations=3, colour=2.5, keep=3, warm=True, momentum=0.1,
        output="best",
    ),
    "small_continuation": Case(
        seed=141, **SMALL, continuation=True, activation="elu", discount=0.95, candidates=46,
        counts=(46, 36, 29), topk=10, iterations=3, colour=0.25, keep=3, momentum=0.1,
        temperature=0.5, output="best",
    ),
    "ssm_continuation": Case(
        seed=42, **SSM, state=20, hidden=64, reward=(), continuation=True, per_candidate=True,
    ),
    "int8_continuation": Case(
        seed=43, **SMALL, continuation=True, activation="elu", precision="int8",
    ),
    "bf16_continuation": Case(seed=44, **SMALL, continuation=True, precision="bf16"),
    "int8_paper": Case(seed=18, precision="int8"),
    "int8_small_elu_start": Case(
        seed=19, **SMALL, activation="elu", start_belief=3.0, per_candidate=True, precision="int8",
    ),
    "int8_ssm": Case(seed=20, **SSM, reward=(100, 50, 25), precision="int8"),
    "int8_tiny_linear_reward": Case(seed=21, **TINY, reward=(), precision="int8"),
    "bf16_paper": Case(seed=23, precision="bf16"),
    "bf16_small_elu_start": Case(
        seed=24, **SMALL, activation="elu", start_belief=3.0, per_candidate=True, precision="bf16",
    ),
    "bf16_ssm_clamp": Case(
        seed=25, **SSM, reward=(100, 50, 25), stddev="clamp", min_stddev=0.7, precision="bf16",
    ),
    "bf16_tiny_linear_reward": Case(seed=26, **TINY, reward=(), precision="bf16"),
}  # fmt: skip


# --- Inputs ---------------------------------------------------------------------------------------


def uniform(seed: int, word: int, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Float32 values uniform in (-scale, scale): SplitMix64 started at output `word` of `seed`."""
    start = int(splitmix64(seed, word + 1)[word])
    bits = splitmix64(start, int(np.prod(shape))) >> np.uint64(11)
    values = scale * (2 * (bits.astype(np.float64) + 0.5) / 2**53 - 1)
    return values.astype(np.float32).reshape(shape)


def case_weights(case: Case) -> dict[str, np.ndarray]:
    """Float32 weights: tensor number k is `uniform(seed, k, shape, scale / sqrt(fan in))`."""
    d, s, a, m = case.belief, case.state, case.action, case.hidden
    shapes: dict[str, tuple[tuple[int, ...], int]] = {
        "input_weight": ((m, s + a), s + a),
        "input_bias": ((m,), s + a),
        "gru_weight_ih": ((3 * d, m), d),
        "gru_weight_hh": ((3 * d, d), d),
        "gru_bias_ih": ((3 * d,), d),
        "gru_bias_hh": ((3 * d,), d),
        "prior_hidden_weight": ((m, d or m), d or m),
        "prior_hidden_bias": ((m,), d or m),
        "prior_weight": ((2 * s, m), m),
        "prior_bias": ((2 * s,), m),
    }
    width = d + s
    for layer, rows in enumerate((*case.reward, 1 + case.continuation)):
        shapes[f"reward_weights.{layer}"] = ((rows, width), width)
        shapes[f"reward_biases.{layer}"] = ((rows,), width)
        width = rows
    return {
        name: uniform(case.seed, k, shape, case.scale / fan_in**0.5)
        for k, (name, (shape, fan_in)) in enumerate(shapes.items())
        if d or not name.startswith("gru_")
    }


def case_inputs(case: Case) -> dict[str, np.ndarray]:
    """Float32 start latents, actions and kept sequences, and the problems' uint64 seeds."""
    starts = (case.batch, case.candidates) if case.per_candidate else (case.batch,)
    shape = (case.horizon, case.batch, case.candidates, case.action)
    return {
        "belief": uniform(case.seed, 100, (*starts, case.belief), case.start_belief),
        "state": uniform(case.seed, 101, (*starts, case.state), 1.7),
        "actions": uniform(case.seed, 102, shape, 1.0),
        "kept": kept_sequences(case),
        "seeds": splitmix64(case.seed, case.batch),
    }


def kept_sequences(case: Case) -> np.ndarray:
    """Float32 [H, B, E, A], within 1.3: NaN where a search is cold, as the last row always is.

    The first sequence has an open tail of a step, the second one of half the horizon, each entry of
    the third's last step but one its own way, and the last one is none for want of a number.
    """
    kept = uniform(case.seed, 103, (case.horizon, case.batch, case.keep, case.action), 1.3)
    if case.keep:
        kept[-1:, :, 0] = np.nan
        kept[-(case.horizon // 2) :, :, 1] = np.nan
        kept[-2, :, 2, ::2] = np.nan
        kept[0, :, -1, 0] = np.nan
        kept[:, -1 if case.warm else slice(None)] = np.nan
    return kept


def evaluate(case: Case) -> dict[str, np.ndarray]:
    """Everything that is stored of a case.

    returns_noise [B, J] with iteration 5 and particle 2, returns_mean [B, J] without noise, and of
    the search mean, stddev [I, H, B, A], best, rms, gap [I, B], elites [I, B, K]; kept [I, H, B, E,
    A] where sequences are kept, and action [I, B, A] where it is not the mean's.
    int8 and bf16 cases have returns only: a number next to a tie may be rounded to either side, so
    that elites are not the same beyond doubt.
    """
    w = {name: value.astype(np.float64) for name, value in case_weights(case).items()}
    inputs = case_inputs(case)
    shape = (case.batch, case.candidates)
    belief, state = (inputs[name].astype(np.float64) for name in ("belief", "state"))
    kept = inputs["kept"].astype(np.float64)
    if not case.per_candidate:
        belief, state = belief[:, None], state[:, None]
    belief = np.broadcast_to(belief, (*shape, case.belief))
    state = np.broadcast_to(state, (*shape, case.state))
    rows = []
    for b in range(case.batch):
        seed, actions = int(inputs["seeds"][b]), inputs["actions"][:, b].astype(np.float64)
        noise = np.stack(
            [
                normals(seed, case.candidates, case.state, STREAM_STATE, t, 5, 2)
                for t in range(case.horizon)
            ]
        )
        row = {
            "returns_noise": returns_of_problem(w, case, belief[b], state[b], actions, noise),
            "returns_mean": returns_of_problem(w, case, belief[b], state[b], actions, None),
        }
        if case.precision == "fp32":
            row |= search_problem(w, case, belief[b], state[b], seed, kept[:, b])
        rows.append(row)
    axes = {"mean": 2, "stddev": 2, "kept": 2}
    axes |= dict.fromkeys(("best", "rms", "gap", "elites", "action"), 1)
    out = {k: np.stack([row[k] for row in rows], axis=axes.get(k, 0)) for k in rows[0]}
    if "gap" in out and out["gap"].min() < SMALLEST_GAP:
        raise SystemExit(f"seed {case.seed}: gap {out['gap'].min():.1e}; choose another seed")
    return out


def random_numbers() -> dict[str, np.ndarray]:
    """Words and normals at the corners of the counter."""
    seeds = [0, 1, 2**32, 2**63, 2**64 - 1, 0x0123456789ABCDEF]
    places = [(0, 0, 0, 0), (1, 65535, 65535, 2**32 - 1), (4, 11, 3, 1)]
    words, values = [], []
    for seed in seeds:
        for stream, t, iteration, particle in places:
            counter = (np.arange(3)[:, None], np.arange(5)[None] + stream * 65536)
            counter = (*counter, t + iteration * 65536, particle)
            block = philox4x32_10(counter, (seed % 2**32, seed // 2**32))
            words.append(np.stack(block, axis=1).reshape(12, 5))
            values.append(normals(seed, 11, 5, stream, t, iteration, particle))
    return {
        "seeds": np.array(seeds, dtype=np.uint64),
        "places": np.array(places, dtype=np.int64),
        "words": np.array(words).reshape(len(seeds), len(places), 12, 5),
        "normals": np.array(values).reshape(len(seeds), len(places), 11, 5),
        "splitmix": np.stack([splitmix64(seed, 4) for seed in seeds]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the golden vectors.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all of them")
    arguments = parser.parse_args()
    for name in arguments.cases or ["random_numbers", *CASES]:
        values = random_numbers() if name == "random_numbers" else evaluate(CASES[name])
        np.savez_compressed(arguments.output / f"{name}.npz", **values)


if __name__ == "__main__":
    main()
