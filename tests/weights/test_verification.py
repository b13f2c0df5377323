"""Tests `RolloutWeights.verify`: what agrees, and what differs with its likely cause."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_weights import PAPER, TINY, TINY_SSM, Sizes, make_weights
from torch import Tensor

from planet.latent import LatentState
from planet.ops import equations
from planet.ops.arithmetic.float32 import Float32Model
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import GRU_TENSORS
from planet.weights.verification import OUTPUTS, Step

MATRICES = tuple[Tensor, ...]


# --- What agrees ----------------------------------------------------------------------------------


def step_of(weights: RolloutWeights) -> Step:
    """Makes a step of the reference's own equations."""

    def step(belief: Tensor, state: Tensor, action: Tensor) -> MATRICES:
        model = Float32Model(weights)
        belief, prior = model.transition(LatentState(belief, state), action)
        reward, logit = model.outcome(LatentState(belief, prior.mean))
        head = (reward,) if logit is None else (reward, logit)
        return belief, prior.mean, prior.stddev, *head

    return step


ENDING = replace(TINY, continuation=True)
SIZES = [TINY, TINY_SSM, Sizes(1, 1, 1, 1, ()), Sizes(33, 7, 3, 20, (31, 16, 5)), PAPER]
SIZES += [ENDING, Sizes(0, 2, 1, 3, (), continuation=True)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
def test_the_second_writing_is_the_reference(sizes: Sizes, activation: str, stddev: str) -> None:
    weights = make_weights(sizes, activation=activation, stddev=stddev)
    numbers = {"samples": np.int64(30), "tolerance": np.float32(1e-6), "seed": np.int64(5)}
    weights.verify(step_of(weights), **numbers)
    weights.verify(lambda *x: [y.double() for y in step_of(weights)(*x)])


def test_torch_s_default_device_is_the_caller_s() -> None:
    weights = make_weights()
    with torch.device("meta"):
        weights.verify(step_of(weights))


def test_a_step_may_be_a_module_change_its_inputs_and_need_gradients() -> None:
    weights = make_weights()

    def step(belief: Tensor, state: Tensor, action: Tensor) -> MATRICES:
        outputs = step_of(weights)(belief, state, action)
        for x in (belief, state, action):
            x.zero_()
        return tuple(x.clone().requires_grad_() for x in outputs)

    weights.verify(step)


# --- What differs ---------------------------------------------------------------------------------


def swapped(matrix: Tensor, first: int) -> Tensor:
    """Moves a matrix's first columns behind the others."""
    return torch.cat([matrix[:, first:], matrix[:, :first]], dim=1)


def rows(value: Tensor, order: list[int]) -> Tensor:
    """Puts gates or halves in another order."""
    parts = value.chunk(len(order))
    return torch.cat([parts[i] for i in order])


def changed(weights: RolloutWeights, **functions: Callable[[Any], Any]) -> RolloutWeights:
    return replace(weights, **{k: f(getattr(weights, k)) for k, f in functions.items()})


def residual(weights: RolloutWeights) -> Step:
    def step(belief: Tensor, state: Tensor, action: Tensor) -> MATRICES:
        belief, mean, stddev, _ = step_of(weights)(belief, state, action)
        mean = state + mean
        model = Float32Model(weights)
        return belief, mean, stddev, model.reward(LatentState(belief, mean))

    return step


def with_logit(function: Callable[[Tensor], Tensor]) -> Step:
    def step(*start: Tensor) -> MATRICES:
        *others, logit = step_of(LOGITS)(*start)
        return *others, function(logit)

    return step


def reset_before(weights: RolloutWeights) -> Step:
    def step(belief: Tensor, state: Tensor, action: Tensor) -> MATRICES:
        x = equations.activate(
            F.linear(torch.cat([state, action], 1), weights.input_weight, weights.input_bias),
            weights.activation,
        )
        of_x = F.linear(x, weights.gru_weight_ih, weights.gru_bias_ih).chunk(3, 1)
        of_h = F.linear(belief, weights.gru_weight_hh, weights.gru_bias_hh).chunk(3, 1)
        reset, update = (torch.sigmoid(a + b) for a, b in zip(of_x[:2], of_h[:2], strict=True))
        new = torch.tanh(
            of_x[2]
            + F.linear(
                reset * belief, weights.gru_weight_hh.chunk(3)[2], weights.gru_bias_hh.chunk(3)[2]
            )
        )
        belief = (1 - update) * new + update * belief
        prior = equations.prior(weights, belief)
        model = Float32Model(weights)
        return belief, prior.mean, prior.stddev, model.reward(LatentState(belief, prior.mean))

    return step


# How a user got it wrong: the step's true model, what was snapshot, the first output that differs
# and what the message says.
W = make_weights(TINY, scale=2.0)
CLAMPED = make_weights(TINY, scale=2.0, activation="elu", stddev="clamp")
SSM = make_weights(TINY_SSM, scale=2.0)
LOGITS = make_weights(ENDING, scale=2.0)
WRONG: dict[str, tuple[Step, RolloutWeights, str, str]] = {
    "clamp for add": (
        step_of(replace(W, stddev="clamp")), W, "prior stddev", "step has stddev 'clamp'"),
    "add for a clamp that holds everywhere": (
        step_of(replace(W, stddev="clamp", min_stddev=50.0)), replace(W, min_stddev=50.0),
        "prior stddev", "step has stddev 'clamp'"),
    "add for clamp": (
        step_of(replace(W, stddev="add")), replace(W, stddev="clamp"), "prior stddev",
        "step has stddev 'add'"),
    "minimum": (
        step_of(replace(W, min_stddev=0.01)), W, "prior stddev", "step has min_stddev 0.01"),
    "bias": (
        step_of(changed(W, prior_bias=lambda b: b + torch.tensor([0.0] * 3 + [0.5254] * 3))), W,
        "prior stddev", "step adds 0.5254 to the raw stddev (add it to the last S of prior_bias)"),
    "activation": (step_of(replace(W, activation="elu")), W, "belief", "step has activation 'elu'"),
    "activation, form and minimum": (
        step_of(CLAMPED), replace(W, min_stddev=0.01), "belief",
        "step has activation 'elu'; step has stddev 'clamp'; step has min_stddev 0.7"),
    "gates": (
        step_of(W),
        changed(W, **dict.fromkeys(GRU_TENSORS, lambda x: rows(x, [1, 0, 2]))), "belief",
        "step has the GRU's gates in the order z, r, n (reorder the rows to r, z, n)"),
    "reset": (reset_before(W), W, "belief", "gru_reset 'before', which is not available"),
    "action first": (
        step_of(W), changed(W, input_weight=lambda x: swapped(x, 3)), "belief",
        "reads the action first (move input_weight's state columns first)"),
    "stddev first": (
        step_of(W),
        changed(W, prior_weight=lambda x: rows(x, [1, 0]), prior_bias=lambda x: rows(x, [1, 0])),
        "prior mean", "the raw stddev first (move the rows of the mean first)"),
    "residual": (residual(W), W, "prior mean", "(residual), which is not available"),
    "reward": (
        step_of(W), changed(W, reward_weights=lambda x: [swapped(x[0], 5), *x[1:]]), "reward",
        "reads the state first (move reward_weights[0]'s belief columns first)"),
    "all that relu hides": (
        step_of(CLAMPED),
        changed(replace(CLAMPED, activation="relu", stddev="add"),
                reward_weights=lambda x: [swapped(x[0], 5), *x[1:]]), "belief",
        "step has activation 'elu'; step has stddev 'clamp'; step's reward reads the state first"),
    "ssm": (
        step_of(SSM), changed(replace(SSM, activation="elu"),
                              input_weight=lambda x: swapped(x, 3)),
        "prior mean", "step has activation 'relu'; step's input layer reads the action first"),
    "logit first": (
        step_of(LOGITS),
        changed(LOGITS, reward_weights=lambda x: [*x[:-1], x[-1].flip(0)],
                reward_biases=lambda x: [*x[:-1], x[-1].flip(0)]), "reward",
        "step's reward head gives the logit first (move the last layer's row of it behind)"),
    "probability": (
        with_logit(torch.sigmoid), LOGITS, "continuation logit",
        "step gives the probability of going on, expected the logit of going on"),
    "ending": (
        with_logit(torch.neg), LOGITS, "continuation logit",
        "step gives the logit of ending, expected the logit of going on"),
    "unknown": (
        step_of(W), changed(W, gru_bias_ih=lambda x: x + 0.01), "belief",
        "no cause of a difference in belief is recognised"),
    "half known": (
        step_of(replace(W, activation="elu")), changed(W, prior_bias=lambda x: x + 0.1), "belief",
        "step has activation 'elu'; what remains, in prior mean, is not recognised"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
def test_the_first_difference_is_named_with_its_likely_cause(name: str) -> None:
    step, weights, output, cause = WRONG[name]
    with pytest.raises(ValueError) as caught:
        weights.verify(step)
    message = str(caught.value)
    assert message.startswith(f"{output}[")
    assert "from these weights, got" in message
    assert cause in message


def test_the_message_shows_place_and_numbers() -> None:
    weights = make_weights()

    def step(belief: Tensor, state: Tensor, action: Tensor) -> MATRICES:
        belief, mean, stddev, reward = step_of(weights)(belief, state, action)
        mean[2, 1] = 7.0
        mean[5, 0] = float("nan")
        return belief, mean, stddev, reward

    with pytest.raises(ValueError, match=(
        r"^prior mean\[2, 1\]: expected -?0\.\d+ from these weights, got 7 from step \(2 of 48 "
        r"numbers differ, tolerance 0\.0001\); no cause of a difference in prior mean is recognised"
    )):  # fmt: skip
        weights.verify(step)


def broken(i: int, change: Callable[[Tensor], Any], sizes: Sizes = TINY) -> Step:
    def step(*start: Tensor) -> Any:
        outputs: list[Any] = list(step_of(make_weights(sizes))(*start))
        outputs[i] = change(outputs[i])
        return outputs

    return step


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"step": "model"}, TypeError, "step: expected a function of belief"),
    ({"step": lambda *x: x[0]}, TypeError,
     "step: expected to return (belief, prior mean, prior stddev, reward), got Tensor"),
    ({"step": lambda *x: x}, TypeError, "got tuple of 3"),
    ({"step": broken(0, lambda x: x.tolist())}, TypeError,
     "step's belief: expected a tensor, got list"),
    ({"step": broken(1, lambda x: x.long())}, TypeError,
     "step's prior mean: expected a floating point tensor, got torch.int64"),
    ({"step": broken(2, lambda x: x[:, :1])}, ValueError,
     "step's prior stddev: expected shape [16, 3] ([N, S]), got [16, 1]"),
    ({"step": broken(3, lambda x: x[:, None])}, ValueError,
     "step's reward: expected shape [16] ([N]), got [16, 1]"),
    ({"samples": 0}, ValueError, "samples: expected a value >= 1, got 0"),
    ({"samples": 2.0}, TypeError, "samples: expected an int, got float"),
    ({"seed": "one"}, TypeError, "seed: expected an int, got str"),
    ({"seed": 2**64}, ValueError,
     "seed: expected a value in [-2**63, 2**64), got 18446744073709551616"),
    ({"tolerance": "tight"}, TypeError, "tolerance: expected a float, got str"),
    ({"tolerance": 0.0}, ValueError, "tolerance: expected a value > 0, got 0.0"),
    ({"tolerance": math.nan}, ValueError, "tolerance: expected a finite value, got nan"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
def test_wrong_arguments_and_outputs_are_refused_by_name(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    weights = make_weights()
    with pytest.raises(error) as caught:
        weights.verify(**{"step": step_of(weights)} | arguments)
    assert message in str(caught.value)


def test_every_output_is_compared() -> None:
    weights = make_weights(ENDING)
    for i, name in enumerate(OUTPUTS):
        with pytest.raises(ValueError) as caught:
            weights.verify(broken(i, lambda x: x + 1e-3, ENDING))
        assert str(caught.value).startswith(f"{name}[0")


def test_a_head_of_two_rows_asks_for_the_logit() -> None:
    with pytest.raises(TypeError) as caught:
        make_weights(ENDING).verify(lambda *start: step_of(make_weights(ENDING))(*start)[:4])
    assert str(caught.value) == (
        "step: expected to return (belief, prior mean, prior stddev, reward, continuation logit), "
        "got tuple of 4"
    )
