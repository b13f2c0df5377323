"""Tests `RolloutWeights`: copied once, checked once, immutable."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from types import ModuleType

import pytest
import torch
from random_weights import TINY, TINY_SSM, Sizes, make_problem, make_weights
from torch import Tensor, nn

from planet.weights.parameters import RecurrentParameters
from planet.weights.random import random_tensors
from planet.weights.rollout_weights import RolloutWeights
from planet.weights.shapes import layouts

LAYERS = ("reward_weights", "reward_biases")
EACH_TRANSITION = pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])


def tensors(sizes: Sizes = TINY) -> dict[str, object]:
    """Arguments of `RolloutWeights`."""
    made = random_tensors(sizes, torch.Generator().manual_seed(0))
    return {"transition": "rssm" if sizes.belief else "ssm", **made}


def all_tensors(weights: RolloutWeights) -> list[Tensor]:
    values = [getattr(weights, field.name) for field in dataclasses.fields(weights)]
    single = [value for value in values if isinstance(value, Tensor)]
    return single + [value for name in LAYERS for value in getattr(weights, name)]


def test_sizes_are_read_off_the_tensors() -> None:
    weights = RolloutWeights(**tensors(Sizes(belief=5, state=3, action=2, hidden=7, reward=(6,))))
    sizes = (weights.belief_size, weights.state_size, weights.action_size, weights.hidden_size)
    assert sizes == (5, 3, 2, 7)
    assert weights.device == torch.device("cpu")


def test_documented_shapes_are_the_table_s() -> None:
    documented = inspect.getdoc(RolloutWeights)
    for name, layout in layouts("rssm", 0).items():
        assert f"\n  {name}: {layout}" in documented
        assert getattr(RecurrentParameters, name).__doc__.startswith(layout)


def test_arguments_are_keyword_only_and_fields_are_frozen() -> None:
    weights = make_weights()
    with pytest.raises(TypeError):
        RolloutWeights("rssm")
    with pytest.raises(dataclasses.FrozenInstanceError):
        weights.min_stddev = 0.2
    assert isinstance(weights.reward_weights, tuple)
    assert isinstance(weights.reward_biases, tuple)


def test_later_changes_of_the_sources_have_no_effect(ops: ModuleType) -> None:
    source = tensors()
    weights = RolloutWeights(**source)
    before = [value.clone() for value in all_tensors(weights)]
    problem = dataclasses.replace(make_problem(), weights=weights)
    actions = problem.actions(3, 4)
    first = ops.rollout_returns(weights, problem.latent, actions, None)
    for name, value in source.items():
        for tensor in value if name in LAYERS else [value] if name != "transition" else []:
            tensor.mul_(2.0)
        if name in LAYERS:
            value.append(torch.zeros(1))
    assert all(map(torch.equal, all_tensors(weights), before))
    assert torch.equal(ops.rollout_returns(weights, problem.latent, actions, None), first)


def test_a_snapshot_owns_contiguous_float32_without_gradients() -> None:
    source = tensors()
    source["gru_weight_hh"] = nn.Parameter(source["gru_weight_hh"].double())
    source["input_weight"] = source["input_weight"].T.contiguous().T
    source["prior_bias"] = source["prior_bias"][:1].expand(6)
    source["input_bias"] = source["input_bias"].bfloat16()
    weights = RolloutWeights(**source)
    for tensor in all_tensors(weights):
        assert type(tensor) is Tensor
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert not tensor.requires_grad
        assert tensor.untyped_storage().nbytes() == tensor.numel() * 4
    assert torch.equal(weights.input_weight, source["input_weight"])


def test_to_the_same_device_returns_the_snapshot_itself() -> None:
    weights = make_weights()
    assert weights.to("cpu") is weights
    assert weights.to(torch.device("cpu")) is weights


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@EACH_TRANSITION
def test_to_cuda_and_back_keeps_every_value(sizes: Sizes) -> None:
    weights = make_weights(sizes, activation="elu", stddev="clamp", min_stddev=0.25)
    there = weights.to("cuda")
    assert there.device.type == "cuda"
    assert there.to("cuda") is there
    back = there.to("cpu")
    assert (back.activation, back.stddev, back.min_stddev) == ("elu", "clamp", 0.25)
    assert back.transition == weights.transition
    assert all(map(torch.equal, all_tensors(weights), all_tensors(back)))


def test_replace_and_copies_start_without_a_backend_s_packed_layout(ops: ModuleType) -> None:
    weights = make_weights()
    problem = make_problem()
    actions = problem.actions(3, 4)
    relu = ops.rollout_returns(weights, problem.latent, actions, None)
    elu = dataclasses.replace(weights, activation="elu")
    assert not torch.equal(ops.rollout_returns(elu, problem.latent, actions, None), relu)
    for twin in (copy.deepcopy(weights), pickle.loads(pickle.dumps(weights))):
        assert torch.equal(ops.rollout_returns(twin, problem.latent, actions, None), relu)


@pytest.mark.parametrize("layers", [(), (1,), (512,), (3, 9), (4, 5, 6)])
def test_one_to_four_reward_layers_of_any_width_are_taken(layers: tuple[int, ...]) -> None:
    weights = RolloutWeights(**tensors(dataclasses.replace(TINY, reward=layers)))
    assert len(weights.reward_weights) == len(layers) + 1
    ending = RolloutWeights(**tensors(dataclasses.replace(TINY, reward=layers, continuation=True)))
    assert (weights.continuation, ending.continuation) == (False, True)
    assert f"reward={[*layers, 2]}" in repr(ending)


@pytest.mark.parametrize("letter", ["belief", "state", "action", "hidden"])
@pytest.mark.parametrize("size", [1, 512])
@EACH_TRANSITION
def test_sizes_from_1_to_512_are_taken(sizes: Sizes, letter: str, size: int) -> None:
    if getattr(sizes, letter):  # an ssm has no belief
        RolloutWeights(**tensors(dataclasses.replace(sizes, **{letter: size})))


def test_an_ssm_has_no_belief_and_no_gru() -> None:
    weights = RolloutWeights(**tensors(TINY_SSM))
    sizes = (weights.belief_size, weights.state_size, weights.action_size, weights.hidden_size)
    assert sizes == (0, 3, 2, 7)
    assert weights.prior_hidden_weight.shape == (7, 7)
    assert weights.reward_weights[0].shape == (6, 3)
    gru = [getattr(weights, f"gru_{k}_{side}") for k in ("weight", "bias") for side in ("ih", "hh")]
    assert gru == [None] * 4
    assert len(all_tensors(weights)) == 6 + 2 * 3
    assert weights.to("cpu") is weights


def test_an_ssm_is_copied_replaced_and_pickled_like_an_rssm() -> None:
    source = tensors(TINY_SSM)
    weights = RolloutWeights(**source)
    before = [value.clone() for value in all_tensors(weights)]
    source["prior_hidden_weight"].mul_(2.0)
    elu = dataclasses.replace(weights, activation="elu")
    for twin in (weights, elu, copy.deepcopy(weights), pickle.loads(pickle.dumps(weights))):
        assert (twin.transition, twin.belief_size) == ("ssm", 0)
        assert all(map(torch.equal, all_tensors(twin), before))


D, S, A, M = TINY.belief, TINY.state, TINY.action, TINY.hidden
INFINITE = torch.full((M,), 1.0).index_fill(0, torch.tensor([2]), float("inf"))
REFUSED = [
    ({"transition": "rnn"}, ValueError, "transition: expected one of ['rssm', 'ssm'], got 'rnn'"),
    ({"transition": "ssm"}, ValueError,
     "gru_weight_ih: expected None for transition='ssm', got a value"),
    *(({name: None}, TypeError, f"{name}: expected a tensor for transition='rssm', got None")
      for name in ("gru_weight_ih", "gru_weight_hh", "gru_bias_ih", "gru_bias_hh")),
    ({"gru_bias_hh": 0.0}, TypeError, "gru_bias_hh: expected a tensor, got float"),
    ({"gru_reset": "before"}, ValueError,
     "gru_reset: 'before' is not available yet; expected 'after'"),
    ({"activation": "tanh"}, ValueError,
     "activation: expected one of ['relu', 'elu'], got 'tanh'"),
    ({"stddev": "exp"}, ValueError, "stddev: expected one of ['add', 'clamp'], got 'exp'"),
    ({"stddev": 0.1}, ValueError, "stddev: expected one of ['add', 'clamp'], got 0.1"),
    ({"min_stddev": "0.1"}, TypeError, "min_stddev: expected a float, got str"),
    ({"min_stddev": -0.1}, ValueError,
     "min_stddev: expected a finite float32 value >= 0, got -0.1"),
    ({"min_stddev": float("nan")}, ValueError,
     "min_stddev: expected a finite float32 value >= 0, got nan"),
    ({"min_stddev": float("inf")}, ValueError,
     "min_stddev: expected a finite float32 value >= 0, got inf"),
    ({"min_stddev": 1e39}, ValueError,
     "min_stddev: expected a finite float32 value >= 0, got 1e+39"),
    ({"input_weight": torch.zeros(M)}, ValueError,
     "input_weight: expected shape [M, S+A], got [7]"),
    ({"input_weight": torch.zeros(M, S)}, ValueError,
     "input_weight: expected shape [M=7, S+A] with S=3 and A >= 1, got [7, 3]"),
    ({"input_weight": torch.zeros(M, S + 513)}, ValueError,
     "input_weight: expected a size 1 <= A <= 512, got 513"),
    ({"input_weight": torch.zeros(M + 1, S + A)}, ValueError,
     "input_weight: expected shape [7, 5] ([M, S+A]), got [8, 5]"),
    ({"input_bias": torch.zeros(M, 1)}, ValueError,
     "input_bias: expected shape [M], got [7, 1]"),
    ({"input_bias": torch.zeros(0)}, ValueError,
     "input_bias: expected a size 1 <= M <= 512, got 0"),
    ({"gru_weight_ih": torch.zeros(3 * D, M + 1)}, ValueError,
     "gru_weight_ih: expected shape [15, 7] ([3D, M]), got [15, 8]"),
    ({"gru_weight_hh": torch.zeros(3 * D, D + 1)}, ValueError,
     "gru_weight_hh: expected shape [18, 6] ([3D, D]), got [15, 6]"),
    ({"gru_weight_hh": torch.zeros(0, 0)}, ValueError,
     "gru_weight_hh: expected a size 1 <= D <= 512, got 0"),
    ({"gru_bias_ih": torch.zeros(D)}, ValueError,
     "gru_bias_ih: expected shape [15] ([3D]), got [5]"),
    ({"gru_bias_hh": torch.zeros(D)}, ValueError,
     "gru_bias_hh: expected shape [15] ([3D]), got [5]"),
    ({"prior_hidden_weight": torch.zeros(M, D + S)}, ValueError,
     "prior_hidden_weight: expected shape [7, 5] ([M, D]), got [7, 8]"),
    ({"prior_hidden_bias": torch.zeros(M + 1)}, ValueError,
     "prior_hidden_bias: expected shape [7] ([M]), got [8]"),
    ({"prior_weight": torch.zeros(S, M)}, ValueError,
     "prior_weight: expected shape [6, 7] ([2S, M]), got [3, 7]"),
    ({"prior_bias": torch.zeros(2 * S + 1)}, ValueError,
     "prior_bias: expected an even length 2S, got 7"),
    ({"prior_bias": torch.zeros(0)}, ValueError,
     "prior_bias: expected a size 1 <= S <= 512, got 0"),
    ({"input_weight": None}, TypeError, "input_weight: expected a tensor, got NoneType"),
    ({"input_weight": torch.zeros(M, S + A, dtype=torch.int64)}, TypeError,
     "input_weight: expected a floating point tensor, got torch.int64"),
    ({"input_bias": torch.zeros(M, device="meta")}, ValueError,
     "input_bias: expected a dense tensor with data, got torch.strided on meta"),
    ({"input_bias": torch.zeros(M).to_sparse()}, ValueError,
     "input_bias: expected a dense tensor with data, got torch.sparse_coo on cpu"),
    ({"input_bias": INFINITE}, ValueError,
     "input_bias: expected finite values, got 1 NaN or infinite"),
    ({"input_bias": torch.full((M,), 1e300, dtype=torch.float64)}, ValueError,
     "input_bias: expected finite values, got 7 NaN or infinite"),
    ({"prior_hidden_bias": torch.full((M,), float("nan"))}, ValueError,
     "prior_hidden_bias: expected finite values, got 7 NaN or infinite"),
    ({"reward_weights": torch.zeros(1, D + S)}, TypeError,
     "reward_weights: expected a sequence of tensors, got Tensor"),
    ({"reward_weights": []}, ValueError, "reward_weights: expected 1 to 4 layers, got 0"),
    ({"reward_weights": [torch.zeros(1, 1)] * 5}, ValueError,
     "reward_weights: expected 1 to 4 layers, got 5"),
    ({"reward_biases": [torch.zeros(1)]}, ValueError,
     "reward_biases: expected one per layer (3), got 1"),
    ({"reward_weights": [torch.zeros(1, S + D)], "reward_biases": ["zero"]}, TypeError,
     "reward_biases[0]: expected a tensor, got str"),
    ({"reward_weights": [torch.zeros(1, D)], "reward_biases": [torch.zeros(1)]}, ValueError,
     "reward_weights[0]: expected shape [1, 8] ([1, D+S]), got [1, 5]"),
    ({"reward_weights": [torch.zeros(3, D + S)], "reward_biases": [torch.zeros(3)]}, ValueError,
     "reward_weights[0]: expected 1 row (reward) or 2 (reward, logit of going on), got [3, 8]"),
    ({"reward_weights": [torch.zeros(2, D + S)], "reward_biases": [torch.zeros(1)]}, ValueError,
     "reward_biases[0]: expected shape [2] ([2]), got [1]"),
    ({"reward_weights": [torch.zeros(D + S)], "reward_biases": [torch.zeros(1)]}, ValueError,
     "reward_weights[0]: expected shape [1, N] or [2, N], got [8]"),
    ({"reward_weights": [torch.zeros(9, D + S), torch.zeros(1, 8)],
      "reward_biases": [torch.zeros(9), torch.zeros(1)]}, ValueError,
     "reward_weights[1]: expected shape [1, 9] ([1, N]), got [1, 8]"),
    ({"reward_weights": [torch.zeros(9, D + S), torch.zeros(1, 9)],
      "reward_biases": [torch.zeros(8), torch.zeros(1)]}, ValueError,
     "reward_biases[0]: expected shape [9] ([N]), got [8]"),
    ({"reward_weights": [torch.zeros(513, D + S), torch.zeros(1, 513)],
      "reward_biases": [torch.zeros(513), torch.zeros(1)]}, ValueError,
     "reward_weights[0]: expected a size 1 <= N <= 512, got 513"),
    ({"reward_weights": [torch.zeros(D + S), torch.zeros(1, 9)],
      "reward_biases": [torch.zeros(9), torch.zeros(1)]}, ValueError,
     "reward_weights[0]: expected shape [N, D+S], got [8]"),
]  # fmt: skip


REFUSED_SSM = [
    ({"transition": "rssm"}, TypeError,
     "gru_weight_ih: expected a tensor for transition='rssm', got None"),
    ({"gru_weight_ih": torch.zeros(3 * D, M)}, ValueError,
     "gru_weight_ih: expected None for transition='ssm', got a value"),
    ({"gru_weight_hh": torch.zeros(0, 0)}, ValueError,
     "gru_weight_hh: expected None for transition='ssm', got a value"),
    ({"gru_bias_ih": torch.zeros(0)}, ValueError,
     "gru_bias_ih: expected None for transition='ssm', got a value"),
    ({"gru_bias_hh": "zero"}, ValueError,
     "gru_bias_hh: expected None for transition='ssm', got a value"),
    ({"prior_hidden_weight": torch.zeros(M, D)}, ValueError,
     "prior_hidden_weight: expected shape [7, 7] ([M, M]), got [7, 5]"),
    ({"prior_hidden_weight": None}, TypeError,
     "prior_hidden_weight: expected a tensor, got NoneType"),
    ({"input_weight": torch.zeros(M, S)}, ValueError,
     "input_weight: expected shape [M=7, S+A] with S=3 and A >= 1, got [7, 3]"),
    ({"input_bias": torch.zeros(0)}, ValueError,
     "input_bias: expected a size 1 <= M <= 512, got 0"),
    ({"prior_weight": INFINITE[:, None].expand(M, 2 * S).T}, ValueError,
     "prior_weight: expected finite values, got 6 NaN or infinite"),
    ({"reward_weights": [torch.zeros(1, D + S)], "reward_biases": [torch.zeros(1)]}, ValueError,
     "reward_weights[0]: expected shape [1, 3] ([1, S]), got [1, 8]"),
    ({"reward_weights": [torch.zeros(S), torch.zeros(1, 9)],
      "reward_biases": [torch.zeros(9), torch.zeros(1)]}, ValueError,
     "reward_weights[0]: expected shape [N, S], got [3]"),
]  # fmt: skip


CASES = [(TINY, *case) for case in REFUSED] + [(TINY_SSM, *case) for case in REFUSED_SSM]


@pytest.mark.parametrize(
    ("sizes", "change", "kind", "message"), CASES, ids=[message for *_, message in CASES]
)
def test_a_bad_snapshot_is_refused_with_argument_expected_and_received(
    sizes: Sizes, change: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        RolloutWeights(**(tensors(sizes) | change))
    assert str(error.value) == message


# ---- Pickles and copies --------------------------------------------------------------------------


def twins(weights: RolloutWeights) -> list[RolloutWeights]:
    return [copy.copy(weights), copy.deepcopy(weights), pickle.loads(pickle.dumps(weights))]


@EACH_TRANSITION
def test_what_a_backend_packed_stays_with_its_snapshot(sizes: Sizes) -> None:
    weights = make_weights(sizes)
    weights._cache["packed"] = torch.zeros(3)
    for twin in twins(weights):
        assert twin._cache == {}
        assert all(map(torch.equal, all_tensors(twin), all_tensors(weights)))
    assert list(weights._cache) == ["packed"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("input_bias", torch.zeros(M + 1), "input_weight: expected shape"),
        ("prior_bias", INFINITE[: 2 * S], "prior_bias: expected finite values"),
        ("reward_weights", (), "reward_weights: expected 1 to 4 layers, got 0"),
        ("min_stddev", float("nan"), "min_stddev: expected a finite float32 value >= 0"),
        ("activation", "tanh", "activation: expected one of"),
    ],
)
def test_a_pickle_is_checked_as_new_weights_are(name: str, value: object, message: str) -> None:
    weights = RolloutWeights(**tensors())
    object.__setattr__(weights, name, value)
    stored = pickle.dumps(weights)
    with pytest.raises((TypeError, ValueError), match=message):
        pickle.loads(stored)


def test_a_pickle_of_an_older_release_is_taken_without_its_packed_weights() -> None:
    weights = RolloutWeights(**tensors())
    old = RolloutWeights.__new__(RolloutWeights)
    old.__setstate__({**weights.__getstate__(), "_cache": {"packed": torch.zeros(3)}})
    assert old._cache == {}
    with pytest.raises(ValueError, match=r"weights: expected a pickle with .*, got \['momentum'\]"):
        old.__setstate__({"momentum": 0.9})
