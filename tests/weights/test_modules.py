"""Tests `RolloutWeights.from_modules`: a snapshot of torch's modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planet.weights.modules import encoder_tensors
from planet.weights.rollout_weights import RolloutWeights

BELIEF, STATE, ACTION, HIDDEN = 5, 3, 2, 7


def modules(gru: nn.Module | None) -> dict[str, Any]:
    """Arguments of `from_modules`; without a GRU those of an ssm."""
    belief = 0 if gru is None else BELIEF
    return {
        "input": nn.Linear(STATE + ACTION, HIDDEN),
        "gru": gru,
        "prior_hidden": nn.Linear(belief or HIDDEN, HIDDEN),
        "prior": nn.Linear(HIDDEN, 2 * STATE),
        "reward": nn.ModuleList([nn.Linear(belief + STATE, 6), nn.Linear(6, 1)]),
    }


@pytest.mark.parametrize(
    "gru", [nn.GRUCell(HIDDEN, BELIEF), nn.GRU(HIDDEN, BELIEF), None], ids=["cell", "layer", "ssm"]
)
def test_a_snapshot_of_modules_is_the_model_that_they_make(gru: nn.Module | None) -> None:
    m = modules(gru)

    def step(belief: Tensor, state: Tensor, action: Tensor) -> tuple[Tensor, ...]:
        source = F.elu(m["input"](torch.cat([state, action], -1)))
        if isinstance(gru, nn.GRU):
            source = belief = gru(source[None], belief[None])[0][0]
        elif gru is not None:
            source = belief = gru(source, belief)
        mean, raw = m["prior"](F.elu(m["prior_hidden"](source))).chunk(2, -1)
        first, last = m["reward"]
        reward = last(F.elu(first(torch.cat([belief, mean], -1)))).squeeze(-1)
        return belief, mean, F.softplus(raw).clamp(min=0.7), reward

    weights = RolloutWeights.from_modules(**m, activation="elu", stddev="clamp", min_stddev=0.7)
    weights.verify(step, tolerance=1e-6)
    assert weights.transition == ("ssm" if gru is None else "rssm")


BIAS = "expected a bias, got bias=False; a bias of zeros is the same"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"input": torch.zeros(7, 5)}, TypeError, "input: expected torch.nn.Linear, got Tensor"),
        ({"prior": nn.Linear(7, 6, bias=False)}, ValueError, f"prior: {BIAS}"),
        ({"gru": nn.GRUCell(7, 5, bias=False)}, ValueError, f"gru: {BIAS}"),
        ({"gru": nn.LSTMCell(7, 5)}, TypeError,
         "gru: expected torch.nn.GRUCell, torch.nn.GRU of one layer, or None, got LSTMCell"),
        ({"gru": nn.GRU(7, 5, num_layers=2)}, ValueError,
         "gru: expected one layer in one direction, got num_layers=2, bidirectional=False"),
        ({"gru": nn.GRU(7, 5, bidirectional=True)}, ValueError,
         "gru: expected one layer in one direction, got num_layers=1, bidirectional=True"),
        ({"reward": nn.Linear(8, 1)}, TypeError,
         "reward: expected a sequence of torch.nn.Linear, got Linear"),
        ({"reward": [nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1)]}, TypeError,
         "reward[1]: expected torch.nn.Linear, got ReLU"),
        ({"gru": None}, ValueError, "prior_hidden_weight: expected shape [7, 7] ([M, M]), got "
                                    "[7, 5]"),
    ],
)  # fmt: skip
def test_modules_that_do_not_fit_are_refused_by_name(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        RolloutWeights.from_modules(**(modules(nn.GRUCell(HIDDEN, BELIEF)) | change))
    assert str(error.value) == message


# ---- encoders ----


def test_an_encoder_s_convolutions_are_taken() -> None:
    layers = nn.Conv2d(3, 4, 5, 2), nn.ELU(), nn.Conv2d(4, 6, 3), nn.ELU(), nn.Flatten()
    assert encoder_tensors(layers, "elu") == {
        "encoder_weights": [layers[0].weight, layers[2].weight],
        "encoder_biases": [layers[0].bias, layers[2].bias],
        "encoder_strides": [2, 1],
    }
    nothing = encoder_tensors([nn.Flatten()], "relu")
    assert nothing == {name: [] for name in encoder_tensors(layers, "elu")}


CONVOLUTIONS: list[tuple[dict[str, Any], str]] = [
    ({"padding": 1}, r"padding \(0, 0\), got \(1, 1\)"),
    ({"padding": "same"}, r"padding \(0, 0\), got same"),
    ({"dilation": 2}, r"dilation \(1, 1\), got \(2, 2\)"),
    ({"groups": 3}, "groups 1, got 3"),
    ({"stride": (2, 1)}, r"stride \(2, 2\), got \(2, 1\)"),
    ({"bias": False}, ".*bias"),
]


@pytest.mark.parametrize(("changes", "message"), CONVOLUTIONS, ids=str)
def test_a_convolution_that_a_snapshot_would_compute_otherwise_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    layers = nn.Conv2d(3, 6, 3, **changes), nn.ReLU(), nn.Flatten()
    with pytest.raises(ValueError, match=rf"encoder\[0\]: expected {message}"):
        encoder_tensors(layers, "relu")


@pytest.mark.parametrize(
    "layers",
    [
        [], [nn.Conv2d(3, 6, 3), nn.ReLU()], [nn.Conv2d(3, 6, 3), nn.Flatten()],
        [nn.Conv2d(3, 6, 3), nn.ELU(), nn.Flatten()], [nn.Linear(3, 6), nn.ReLU(), nn.Flatten()],
        [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()],
        [nn.Flatten(), nn.ReLU(), nn.Flatten()],
    ],
    ids=str,
)  # fmt: skip
def test_an_encoder_of_other_layers_is_refused(layers: list[nn.Module]) -> None:
    with pytest.raises(TypeError, match=r"encoder: expected layers \[.*'Flatten'\], got \["):
        encoder_tensors(layers, "relu")
