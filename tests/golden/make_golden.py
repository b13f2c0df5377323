"""Golden vectors: the planner's contract in float64 NumPy, without `planet` and without torch.

An independent second writing of the equations: Philox4x32-10, SplitMix64, Box-Muller normals, the
RSSM prior, the SSM, the reward head, int8 and bf16 products, the refit and the cross-entropy
method. Each case stores the results only; weights, latents, actions and noise are made anew from
the case's seed by `case_inputs`, so the files stay small. Written for clarity, not for speed.

    cd tests
    python -m golden.make_golden                       # writes the files beside this script
    python -m golden.make_golden --output FOLDER CASE...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from golden.model import Case, returns_of_problem
from golden.random_numbers import STREAM_ACTIONS, STREAM_STATE, normals, philox4x32_10, splitmix64

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


# --- The planner ----------------------------------------------------------------------------------


def rank(returns: np.ndarray) -> list[int]:
    """Candidates by descending return, NaN last, ties to the lower index."""
    return sorted(
        range(len(returns)), key=lambda j: (bool(np.isnan(returns[j])), -returns[j] if
                                            not np.isnan(returns[j]) else 0.0, j)
    )  # fmt: skip


def refit(
    actions: np.ndarray, returns: np.ndarray, case: Case
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Mean and stddev [H, A] of the elites of one problem's actions [H, J, A], and the elites."""
    elites = rank(returns)[: case.topk]
    chosen = actions[:, elites]
    mean = chosen.sum(axis=1) / case.topk
    error = chosen - mean[:, None]
    if case.spread == "population":
        stddev = np.sqrt((error**2).sum(axis=1) / case.topk + case.epsilon)
    else:
        stddev = np.abs(error).sum(axis=1) / (case.topk - 1)
    return mean, stddev, elites


def cem_problem(
    w: dict[str, np.ndarray], case: Case, belief: np.ndarray, state: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """All iterations of one problem from mean 0: mean, stddev [I, H, A], best, rms, gap [I]."""
    h, j = case.horizon, case.candidates
    mean = np.zeros((h, case.action))
    stddev = np.full((h, case.action), case.initial_stddev)
    names = ("mean", "stddev", "best", "rms", "gap", "elites")
    out: dict[str, list] = {name: [] for name in names}
    for i in range(case.first_iteration, case.first_iteration + case.iterations):
        draw = np.stack([normals(seed, j, case.action, STREAM_ACTIONS, t, i) for t in range(h)])
        actions = np.clip(mean[:, None] + stddev[:, None] * draw, case.low, case.high)
        noise = None
        if case.state_noise:
            noise = np.stack([normals(seed, j, case.state, STREAM_STATE, t, i) for t in range(h)])
        returns = returns_of_problem(w, case, belief, state, actions, noise)
        mean, stddev, elites = refit(actions, returns, case)
        order = np.sort(returns)[::-1]
        rms = np.sqrt(np.mean(returns**2))
        out["mean"].append(mean)
        out["stddev"].append(stddev)
        out["best"].append(order[0])
        out["rms"].append(rms)
        out["gap"].append((order[case.topk - 1] - order[case.topk]) / max(rms, 1e-2))
        out["elites"].append(elites)
    return {name: np.array(value) for name, value in out.items()}


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
    for layer, rows in enumerate((*case.reward, 1)):
        shapes[f"reward_weights.{layer}"] = ((rows, width), width)
        shapes[f"reward_biases.{layer}"] = ((rows,), width)
        width = rows
    return {
        name: uniform(case.seed, k, shape, case.scale / fan_in**0.5)
        for k, (name, (shape, fan_in)) in enumerate(shapes.items())
        if d or not name.startswith("gru_")
    }


def case_inputs(case: Case) -> dict[str, np.ndarray]:
    """Float32 start latents and actions, and the problems' uint64 seeds."""
    starts = (case.batch, case.candidates) if case.per_candidate else (case.batch,)
    shape = (case.horizon, case.batch, case.candidates, case.action)
    return {
        "belief": uniform(case.seed, 100, (*starts, case.belief), case.start_belief),
        "state": uniform(case.seed, 101, (*starts, case.state), 1.7),
        "actions": uniform(case.seed, 102, shape, 1.0),
        "seeds": splitmix64(case.seed, case.batch),
    }


def evaluate(case: Case) -> dict[str, np.ndarray]:
    """Everything that is stored of a case.

    returns_noise [B, J] with iteration 5 and particle 2, returns_mean [B, J] without noise, and of
    the cross-entropy method mean, stddev [I, H, B, A], best, rms, gap [I, B], elites [I, B, K].
    int8 and bf16 cases have returns only: a number next to a tie may be rounded to either side, so
    that elites are not the same beyond doubt.
    """
    w = {name: value.astype(np.float64) for name, value in case_weights(case).items()}
    inputs = case_inputs(case)
    shape = (case.batch, case.candidates)
    belief, state = (inputs[name].astype(np.float64) for name in ("belief", "state"))
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
            row |= cem_problem(w, case, belief[b], state[b], seed)
        rows.append(row)
    axes = {"mean": 2, "stddev": 2, "best": 1, "rms": 1, "gap": 1, "elites": 1}
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
