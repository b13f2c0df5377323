"""The latent dynamics model and the reward head in float64 NumPy, also in int8 and bf16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# of the terms that rewards are sums of, absolute, over rms of the return: times float32's unit of
# rounding, 6e-8, this is the tolerance of 2e-6. A case with more is refused and needs another seed,
# because float32 cannot be told from a mistake there.
LARGEST_CANCELLATION = 33.0


@dataclass(frozen=True)
class Case:
    """Sizes and settings of one set of golden vectors; letters as everywhere in the project."""

    seed: int
    belief: int = 200  # D; 0: the transition is "ssm"
    state: int = 30  # S
    action: int = 6  # A
    hidden: int = 200  # M
    reward: tuple[int, ...] = (200, 200)  # hidden widths of the reward head
    continuation: bool = False  # the head gives the logit of going on, too
    activation: str = "relu"
    scale: float = 1.0  # of all weights, 1: uniform within 1 / sqrt(fan in)
    stddev: str = "add"
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
    start_belief: float = 0.8  # starts are uniform within
    precision: str = "fp32"
    counts: tuple[int, ...] = ()  # candidates of each iteration, J at most; none: J in each
    colour: float | None = None  # the power of 1 / frequency in the normals' spectrum; None: no mix
    keep: int = 0  # E
    warm: bool = False  # kept sequences are given to the first iteration
    momentum: float = 0.0
    temperature: float | None = None
    output: str = "mean"


def activate(x: np.ndarray, name: str) -> np.ndarray:
    if name == "relu":
        return np.maximum(x, 0)
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest numbers of 8 significant bits, ties to even."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(fraction, 8)), exponent - 8)


def action_product(case: Case, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Weight times actions, which are never int8."""
    return bfloat16(x) @ bfloat16(weight).T if case.precision == "bf16" else x @ weight.T


def product(case: Case, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Weight times rows x of numbers of both signs: int8 or bf16, where the case says so."""
    if case.precision != "int8":
        return action_product(case, weight, x)
    return int8_product(weight, x, np.abs(x).max(axis=1, keepdims=True), 127, 0.0)


def hidden_product(case: Case, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Weight times rows x of a hidden layer's outputs, which are not below 0, or -1 for ELU."""
    if case.precision != "int8":
        return product(case, weight, x)
    lowest = -1.0 if case.activation == "elu" else 0.0
    return int8_product(weight, x, x.max(axis=1, keepdims=True) - lowest, 255, lowest)


def int8_product(
    weight: np.ndarray, x: np.ndarray, span: np.ndarray, levels: int, lowest: float
) -> np.ndarray:
    """x = lowest + step * integer with step span / levels, weights integers in -127..127 per row.

    Weights are rounded in float32, because a single other integer would move every result; rows x
    in float64. Spans and rows of zeros give integers 0.
    """
    largest = np.maximum(np.abs(weight).max(axis=1), 2.0**-100).astype(np.float32)
    factor = np.float32(127) / largest
    w = np.rint(weight.astype(np.float32) * factor[:, None]).astype(np.int64)
    step = np.maximum(span, 2.0**-100) / levels
    q = np.rint((x - lowest) / step).astype(np.int64)
    scale = largest.astype(np.float64) / 127
    return (q @ w.T) * step * scale + lowest * scale * w.sum(axis=1)


def transition(
    w: dict[str, np.ndarray],
    case: Case,
    belief: np.ndarray,
    state: np.ndarray,
    action: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New belief, and mean and stddev of the prior over the new state, for rows of inputs.

    Without a belief the prior reads x.
    """
    d, s = case.belief, case.state
    x = product(case, w["input_weight"][:, :s], state)
    x = x + action_product(case, w["input_weight"][:, s:], action) + w["input_bias"]
    x = activate(x, case.activation)
    if d:
        from_x = hidden_product(case, w["gru_weight_ih"], x) + w["gru_bias_ih"]
        from_h = product(case, w["gru_weight_hh"], belief) + w["gru_bias_hh"]
        r = sigmoid(from_x[:, :d] + from_h[:, :d])
        z = sigmoid(from_x[:, d : 2 * d] + from_h[:, d : 2 * d])
        n = np.tanh(from_x[:, 2 * d :] + r * from_h[:, 2 * d :])
        belief = (1 - z) * n + z * belief
        p = product(case, w["prior_hidden_weight"], belief)
    else:
        p = hidden_product(case, w["prior_hidden_weight"], x)
    p = activate(p + w["prior_hidden_bias"], case.activation)
    out = hidden_product(case, w["prior_weight"], p) + w["prior_bias"]
    stddev = softplus(out[:, s:])
    if case.stddev == "clamp":
        return belief, out[:, :s], np.maximum(stddev, case.min_stddev)
    return belief, out[:, :s], stddev + case.min_stddev


def reward(
    w: dict[str, np.ndarray],
    case: Case,
    belief: np.ndarray,
    state: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | float]:
    """Rewards of rows, the sum of the absolute terms that they are made of, and how far rows go on.

    The last layer is exact. The first has belief and state columns with steps of their own.
    """
    x = np.concatenate([belief, state], axis=1)
    for layer in range(len(case.reward)):
        weight = w[f"reward_weights.{layer}"]
        if layer:
            x = hidden_product(case, weight, x)
        else:
            x = product(case, weight[:, case.belief :], state)
            if case.belief:
                x = x + product(case, weight[:, : case.belief], belief)
        x = activate(x + w[f"reward_biases.{layer}"], case.activation)
    last = len(case.reward)
    weight, bias = w[f"reward_weights.{last}"], w[f"reward_biases.{last}"]
    terms = np.abs(x) @ np.abs(weight[0]) + np.abs(bias[0])
    going = sigmoid(x @ weight[1] + bias[1]) if case.continuation else 1.0
    return x @ weight[0] + bias[0], terms, going


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
    left = np.ones(actions.shape[1])  # probability that the episode has not ended
    for t in range(len(actions)):
        belief, mean, stddev = transition(w, case, belief, state, actions[t])
        state = mean if noise is None else mean + stddev * noise[t]
        predicted, terms, going = reward(w, case, belief, state)
        total = total + case.discount**t * left * predicted
        magnitude = magnitude + case.discount**t * left * terms
        left = left * going
    cancellation = np.sqrt(np.mean(magnitude**2) / np.mean(total**2))
    if cancellation > LARGEST_CANCELLATION:
        raise SystemExit(f"seed {case.seed}: cancellation {cancellation:.1f}; choose another seed")
    return total
