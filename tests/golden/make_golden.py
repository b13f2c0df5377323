"""Golden vectors: the planner's contract in float64 NumPy, without `planet` and without torch.

An independent second writing of the equations: Philox4x32-10, SplitMix64, Box-Muller normals, the
RSSM prior, the reward head, the refit and the cross-entropy method. Each case stores the results
only; weights, latents, actions and noise are made anew from the case's seed by `case_inputs`, so
the files stay small. Written for clarity, not for speed.

    python tests/golden/make_golden.py                 # writes the files beside this script
    python tests/golden/make_golden.py --output FOLDER
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STREAM_ACTIONS, STREAM_STATE = 0, 1
# A case is refused, and needs another seed, where float32 cannot be told from a mistake:
SMALLEST_GAP = 1e-4  # between returns K and K+1, relative to the rms return: 50 x the tolerance
# of the terms that rewards are sums of, absolute, over rms of the return: times float32's unit of
# rounding, 6e-8, this is the tolerance of 2e-6.
LARGEST_CANCELLATION = 33.0


@dataclass(frozen=True)
class Case:
    """Sizes and settings of one set of golden vectors; letters as everywhere in the project."""

    seed: int
    belief: int = 200  # D
    state: int = 30  # S
    action: int = 6  # A
    hidden: int = 200  # M
    reward: tuple[int, ...] = (200, 200)  # hidden widths of the reward head
    activation: str = "relu"
    scale: float = 1.0  # of all weights, 1: uniform within 1 / sqrt(fan in)
    min_stddev: float = 0.1
    batch: int = 2  # B
    horizon: int = 12  # H
    candidates: int = 64  # J
    topk: int = 10  # K
    iterations: int = 2  # I
    spread: str = "population"
    epsilon: float = 1e-6
    discount: float = 1.0
    low: tuple[float, ...] | float = -1.0
    high: tuple[float, ...] | float = 1.0
    state_noise: bool = True
    per_candidate: bool = False  # one start latent per candidate
    initial_stddev: float = 1.0
    first_iteration: int = 0


TINY = {"belief": 5, "state": 3, "action": 1, "hidden": 7, "horizon": 5, "candidates": 13}
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
}  # fmt: skip


# --- Random numbers -------------------------------------------------------------------------------


def splitmix64(seed: int, count: int) -> np.ndarray:
    """The first `count` outputs of SplitMix64 started at `seed`, uint64 [count]."""
    with np.errstate(over="ignore"):
        step = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(seed % 2**64) + step
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def philox4x32_10(counter: tuple, key: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Ten rounds of Philox on four broadcastable counter words and two key words."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = np.broadcast_arrays(*[np.asarray(c, dtype=np.uint64) for c in counter])
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        product0 = np.uint64(0xD2511F53) * c0  # 32 x 32 bits fit into 64
        product1 = np.uint64(0xCD9E8D57) * c2
        high0, low0 = product0 >> np.uint64(32), product0 & low
        high1, low1 = product1 >> np.uint64(32), product1 & low
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


def normals(
    seed: int, candidates: int, dims: int, stream: int, t: int, iteration: int, particle: int = 0
) -> np.ndarray:
    """Standard normals [candidates, dims] of one problem, float64."""
    out = np.empty((candidates + 3, dims))
    quads = np.arange((candidates + 3) // 4)[:, None]
    counter = (quads, np.arange(dims)[None] + stream * 65536, t + iteration * 65536, particle)
    words = philox4x32_10(counter, (seed % 2**32, seed // 2**32))
    u0, u1, u2, u3 = [((w // np.uint64(256)).astype(np.float64) + 0.5) / 2**24 for w in words]
    first, second = np.sqrt(-2 * np.log(u0)), np.sqrt(-2 * np.log(u2))
    blocks = [
        first * np.cos(2 * np.pi * u1),
        first * np.sin(2 * np.pi * u1),
        second * np.cos(2 * np.pi * u3),
        second * np.sin(2 * np.pi * u3),
    ]
    for i, block in enumerate(blocks):
        rows = out[i::4]
        rows[: len(block)] = block[: len(rows)]
    return out[:candidates]


# --- The model ------------------------------------------------------------------------------------


def activate(x: np.ndarray, name: str) -> np.ndarray:
    if name == "relu":
        return np.maximum(x, 0)
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def transition(
    w: dict[str, np.ndarray], case: Case, belief: np.ndarray, state: np.ndarray, action: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New belief, and mean and stddev of the prior over the new state, for rows of inputs."""
    d, s = case.belief, case.state
    x = np.concatenate([state, action], axis=1) @ w["input_weight"].T + w["input_bias"]
    x = activate(x, case.activation)
    from_x = x @ w["gru_weight_ih"].T + w["gru_bias_ih"]
    from_h = belief @ w["gru_weight_hh"].T + w["gru_bias_hh"]
    r = sigmoid(from_x[:, :d] + from_h[:, :d])
    z = sigmoid(from_x[:, d : 2 * d] + from_h[:, d : 2 * d])
    n = np.tanh(from_x[:, 2 * d :] + r * from_h[:, 2 * d :])
    belief = (1 - z) * n + z * belief
    p = activate(belief @ w["prior_hidden_weight"].T + w["prior_hidden_bias"], case.activation)
    out = p @ w["prior_weight"].T + w["prior_bias"]
    return belief, out[:, :s], softplus(out[:, s:]) + case.min_stddev


def reward(
    w: dict[str, np.ndarray], case: Case, belief: np.ndarray, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of rows, and the sum of the absolute terms that they are made of."""
    x = np.concatenate([belief, state], axis=1)
    for layer in range(len(case.reward)):
        x = activate(
            x @ w[f"reward_weights.{layer}"].T + w[f"reward_biases.{layer}"], case.activation
        )
    last = len(case.reward)
    weight, bias = w[f"reward_weights.{last}"][0], w[f"reward_biases.{last}"][0]
    return x @ weight + bias, np.abs(x) @ np.abs(weight) + np.abs(bias)


def returns_of_problem(
    w: dict[str, np.ndarray],
    case: Case,
    belief: np.ndarray,
    state: np.ndarray,
    actions: np.ndarray,
    noise: np.ndarray | None,
) -> np.ndarray:
    """Returns [J] of one problem; belief [J, D], state [J, S], actions and noise [H, J, ...]."""
    total, magnitude = np.zeros(actions.shape[1]), np.zeros(actions.shape[1])
    for t in range(len(actions)):
        belief, mean, stddev = transition(w, case, belief, state, actions[t])
        state = mean if noise is None else mean + stddev * noise[t]
        predicted, terms = reward(w, case, belief, state)
        total = total + case.discount**t * predicted
        magnitude = magnitude + case.discount**t * terms
    cancellation = np.sqrt(np.mean(magnitude**2) / np.mean(total**2))
    if cancellation > LARGEST_CANCELLATION:
        raise SystemExit(f"seed {case.seed}: cancellation {cancellation:.1f}; choose another seed")
    return total


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
        "prior_hidden_weight": ((m, d), d),
        "prior_hidden_bias": ((m,), d),
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
    }


def case_inputs(case: Case) -> dict[str, np.ndarray]:
    """Float32 start latents and actions, and the problems' uint64 seeds."""
    starts = (case.batch, case.candidates) if case.per_candidate else (case.batch,)
    shape = (case.horizon, case.batch, case.candidates, case.action)
    return {
        "belief": uniform(case.seed, 100, (*starts, case.belief), 0.8),
        "state": uniform(case.seed, 101, (*starts, case.state), 1.7),
        "actions": uniform(case.seed, 102, shape, 1.0),
        "seeds": splitmix64(case.seed, case.batch),
    }


def evaluate(case: Case) -> dict[str, np.ndarray]:
    """Everything that is stored of a case.

    returns_noise [B, J] with iteration 5 and particle 2, returns_mean [B, J] without noise, and of
    the cross-entropy method mean, stddev [I, H, B, A], best, rms, gap [I, B], elites [I, B, K].
    """
    w = {name: value.astype(np.float64) for name, value in case_weights(case).items()}
    inputs = case_inputs(case)
    shape = (case.batch, case.candidates)
    belief = inputs["belief"].astype(np.float64).reshape(case.batch, -1, case.belief)
    state = inputs["state"].astype(np.float64).reshape(case.batch, -1, case.state)
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
        rows.append(row | cem_problem(w, case, belief[b], state[b], seed))
    axes = {"mean": 2, "stddev": 2, "best": 1, "rms": 1, "gap": 1, "elites": 1}
    out = {k: np.stack([row[k] for row in rows], axis=axes.get(k, 0)) for k in rows[0]}
    if out["gap"].min() < SMALLEST_GAP:
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
    output = parser.parse_args().output
    np.savez_compressed(output / "random_numbers.npz", **random_numbers())
    for name, case in CASES.items():
        np.savez_compressed(output / f"{name}.npz", **evaluate(case))


if __name__ == "__main__":
    main()
