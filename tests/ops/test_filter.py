"""The compiled filter of a chunk, forward and backward, against the plain one in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ops.fused_support import ISAS, isa, needs_extension, threads
from ops.tolerances import FILTER
from ops.tolerances import tensor_error as error
from torch import Tensor

from planet.config import ModelConfig
from planet.models.latent_model import LatentModel
from planet.ops import fused
from planet.ops.filter import filter_chunk

pytestmark = needs_extension
EMBEDDING = 5
OUTPUTS = ("belief", "state", "mean", "stddev")


@dataclass(frozen=True)
class Case:
    """A model, a chunk, and random weights of the outputs in a loss."""

    steps: int
    batch: int
    state: int
    belief: int
    hidden: int
    action: int
    activation: Any = "elu"

    @cached_property
    def model(self) -> LatentModel:
        torch.manual_seed(1)
        config = ModelConfig(
            state_size=self.state, belief_size=self.belief, hidden_size=self.hidden,
            activation=self.activation,
        )  # fmt: skip
        model = LatentModel(config, self.action, EMBEDDING)
        for parameter in model.parameters():  # biases, too
            parameter.data += 0.1 * torch.randn(parameter.shape)
        return model

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """Embedding, action and noise."""
        torch.manual_seed(2)
        sizes = EMBEDDING, self.action, self.state
        return tuple(torch.randn(self.steps, self.batch, size) for size in sizes)

    @cached_property
    def upstream(self) -> tuple[Tensor, ...]:
        torch.manual_seed(3)
        sizes = self.belief, self.state, self.state, self.state
        return tuple(torch.randn(self.steps, self.batch, size) for size in sizes)


SMALL = Case(3, 17, 7, 9, 11, 3, "relu")
CASES = [
    Case(1, 1, 1, 1, 1, 1),
    Case(1, 3, 5, 33, 17, 2, "relu"),
    SMALL,
    Case(6, 20, 20, 100, 100, 6),
    Case(4, 50, 30, 200, 200, 6, "relu"),
    Case(9, 50, 16, 64, 48, 4),
    Case(2, 2, 3, 130, 5, 140, "elu"),
]
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_isa = pytest.mark.parametrize("name", ISAS)
Filter = Callable[..., tuple[Tensor, ...]]


def plain(
    model: LatentModel, embedding: Tensor, action: Tensor, noise: Tensor
) -> tuple[Tensor, ...]:
    filtered = model.filter_chunk(embedding, action, noise)
    latent, posterior = filtered.latent, filtered.posterior
    return latent.belief, latent.state, posterior.mean, posterior.stddev


def compiled(
    model: LatentModel, embedding: Tensor, action: Tensor, noise: Tensor
) -> tuple[Tensor, ...]:
    return filter_chunk(model, share_of(model, embedding), action, noise)


def share_of(model: LatentModel, embedding: Tensor) -> Tensor:
    layer = model.posterior_hidden
    return F.linear(embedding, layer.weight[:, model.belief_size :], layer.bias)


def run(
    function: Filter, case: Case, model: LatentModel, used: tuple[str, ...] = OUTPUTS
) -> list[Tensor]:
    """Outputs, then the gradients of embedding and parameters, in the model's dtype."""
    dtype = model.input_weight.dtype
    embedding, action, noise = (x.to(dtype) for x in case.inputs)
    parameters = [p for name, p in model.named_parameters() if not name.startswith("prior")]
    embedding.requires_grad_()
    outputs = function(model, embedding, action, noise)
    pairs = dict(zip(OUTPUTS, zip(outputs, case.upstream, strict=True), strict=True))
    loss = torch.stack([(pairs[name][0] * pairs[name][1]).sum() for name in used]).sum()
    gradients = torch.autograd.grad(loss, [embedding, *parameters])
    return [*(output.detach() for output in outputs), *gradients]


@each_isa
@each_case
def test_outputs_and_gradients_agree_with_float64(case: Case, name: str) -> None:
    exact = run(plain, case, copy.deepcopy(case.model).double())
    with isa(name):
        got = run(compiled, case, case.model)
    assert [error(x, y) < FILTER for x, y in zip(got, exact, strict=True)] == [True] * len(exact)


@each_case
def test_plain_float32_is_as_far_from_float64(case: Case) -> None:
    exact = run(plain, case, copy.deepcopy(case.model).double())
    got = run(plain, case, case.model)
    assert max(error(x, y) for x, y in zip(got, exact, strict=True)) < FILTER


@each_isa
@pytest.mark.parametrize("used", [*((name,) for name in OUTPUTS), ("state", "stddev")], ids=str)
def test_outputs_without_a_gradient_count_as_zeros(name: str, used: tuple[str, ...]) -> None:
    exact = run(plain, SMALL, copy.deepcopy(SMALL.model).double(), used)
    with isa(name):
        got = run(compiled, SMALL, SMALL.model, used)
    assert max(error(x, y) for x, y in zip(got, exact, strict=True)) < FILTER


@each_isa
def test_bits_do_not_depend_on_threads_or_the_run(name: str) -> None:
    def bits(case: Case, count: int) -> list[Tensor]:
        model, share = case.model, share_of(case.model, case.inputs[0]).detach().requires_grad_()
        with threads(count):
            outputs = filter_chunk(model, share, *case.inputs[1:])
            used = {n: p for n, p in model.named_parameters() if not n.startswith("prior")}
            del used["posterior_hidden.bias"]  # is in share
            gradients = torch.autograd.grad(outputs, [share, *used.values()], case.upstream)
        return [*outputs, *gradients]

    with isa(name):
        for case in (SMALL, Case(9, 50, 16, 64, 48, 4)):
            alone = bits(case, 1)
            for count in (1, 2, 3):
                pairs = zip(bits(case, count), alone, strict=True)
                assert all(torch.equal(x, y) for x, y in pairs)


@each_isa
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_rows_are_independent_of_the_batch(name: str, activation: str) -> None:
    case = Case(3, 23, 7, 21, 19, 3, activation)
    embedding, action, noise = case.inputs
    share = share_of(case.model, embedding).detach().requires_grad_()
    with isa(name):
        outputs = filter_chunk(case.model, share, action, noise)
        (gradient,) = torch.autograd.grad(outputs, share, case.upstream)
        for rows in (slice(0, 1), slice(3, 9), slice(22, 23)):
            part = share[:, rows].detach().requires_grad_()
            alone = filter_chunk(case.model, part, action[:, rows], noise[:, rows])
            assert all(torch.equal(x, y[:, rows]) for x, y in zip(alone, outputs, strict=True))
            of_part = torch.autograd.grad(alone, part, [x[:, rows] for x in case.upstream])[0]
            assert torch.equal(of_part, gradient[:, rows])


@each_isa
@pytest.mark.parametrize("which", [0, 1, 2], ids=["share", "action", "noise"])
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_nan_stays_in_its_row(name: str, which: int, activation: str) -> None:
    case = Case(4, 17, 7, 9, 11, 3, activation)
    inputs = [share_of(case.model, case.inputs[0]).detach(), *case.inputs[1:]]
    with isa(name), torch.no_grad():
        clean = filter_chunk(case.model, *inputs)
        inputs[which] = inputs[which].clone()
        inputs[which][1, 5] = torch.nan
        outputs = filter_chunk(case.model, *inputs)
    others = [row for row in range(17) if row != 5]
    for got, expected in zip(outputs, clean, strict=True):
        assert torch.equal(got[:, others], expected[:, others])
        assert torch.equal(got[0], expected[0])
        assert got[2:, 5].isnan().all()  # the belief of step 1 reads noise and share a step later
    assert outputs[1][1:, 5].isnan().all()


@each_isa
def test_strides_change_nothing(name: str) -> None:
    embedding, action, noise = SMALL.inputs
    inputs = share_of(SMALL.model, embedding).detach(), action, noise
    strided = [x.transpose(0, 2).contiguous().transpose(0, 2) for x in inputs]
    with isa(name), torch.no_grad():
        pairs = zip(
            filter_chunk(SMALL.model, *inputs), filter_chunk(SMALL.model, *strided), strict=True
        )
    assert all(torch.equal(x, y) for x, y in pairs)


def test_instruction_sets_may_change_between_forward_and_backward() -> None:
    share = share_of(SMALL.model, SMALL.inputs[0]).detach().requires_grad_()
    with isa(ISAS[0]):
        outputs = filter_chunk(SMALL.model, share, *SMALL.inputs[1:])
        (expected,) = torch.autograd.grad(outputs, share, SMALL.upstream, retain_graph=True)
    with isa(None):  # the widest
        (got,) = torch.autograd.grad(outputs, share, SMALL.upstream)
    assert torch.equal(got, expected)


# ---- what is refused ----


def changed(**changes: Any) -> dict[str, Any]:
    share = share_of(SMALL.model, SMALL.inputs[0]).detach()
    good = {"parameters": SMALL.model, "share": share}
    return good | dict(zip(("action", "noise"), SMALL.inputs[1:], strict=True)) | changes


class Clamped(LatentModel):
    """Has the other form of the stddev."""

    stddev: Any = property(lambda self: "clamp", lambda self, value: None)


NO_GRADIENT = "expected a tensor that needs no gradient, got one that does"
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"share": [1.0]}, TypeError, "share: expected a tensor [T, B, M], got list"),
    ({"share": torch.zeros(3, 17, 12)}, ValueError,
     "share: expected shape [3, 17, 11] ([T, B, M]), got [3, 17, 12]"),
    ({"share": torch.zeros(0, 17, 11)}, ValueError,
     "share: expected sizes >= 1 in [T, B, M], got [0, 17, 11]"),
    ({"share": torch.zeros(3, 17, 11).double()}, TypeError,
     "share: expected torch.float32, got torch.float64"),
    ({"action": torch.zeros(3, 17, 4)}, ValueError,
     "action: expected shape [3, 17, 3] ([T, B, A]), got [3, 17, 4]"),
    ({"action": torch.zeros(3, 17, 3, requires_grad=True)}, ValueError, f"action: {NO_GRADIENT}"),
    ({"noise": torch.zeros(3, 16, 7)}, ValueError,
     "noise: expected shape [3, 17, 7] ([T, B, S]), got [3, 16, 7]"),
    ({"noise": torch.zeros(3, 17, 7, device="meta")}, ValueError,
     "noise: expected device cpu, got meta"),
    ({"noise": torch.zeros(3, 17, 7, requires_grad=True)}, ValueError, f"noise: {NO_GRADIENT}"),
    ({"parameters": copy.deepcopy(SMALL.model).double()}, TypeError,
     "parameters.input_weight: expected torch.float32, got torch.float64"),
    ({"parameters": copy.deepcopy(SMALL.model).to("meta")}, ValueError,
     "parameters.input_weight: expected device cpu, got meta"),
    ({"parameters": Clamped(ModelConfig(), 3, EMBEDDING)}, ValueError,
     "parameters.stddev: expected one of ['add'], got 'clamp'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED, ids=[m for *_, m in REFUSED])
def test_a_mistake_is_refused_with_argument_expected_and_received(
    change: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as raised:
        filter_chunk(**changed(**change))
    assert str(raised.value) == message


def test_what_the_mistakes_start_from_is_right() -> None:
    filter_chunk(**changed())


def test_gradients_are_not_differentiated_again() -> None:
    share = changed()["share"].requires_grad_()
    outputs = filter_chunk(**changed(share=share))
    with pytest.raises(RuntimeError, match="create_graph: expected False, .* got True; use"):
        torch.autograd.grad(outputs, share, SMALL.upstream, create_graph=True)


def test_without_the_extension_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_C", None)
    with pytest.raises(ImportError, match="backend='reference'"):
        filter_chunk(**changed())


# ---- the raw ops, which check what memory safety needs ----


def raw(**changes: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Calls of the ops, forward and backward."""
    model, given = SMALL.model, changed(**changes)
    parameters = [
        model.input_weight, model.input_bias, model.gru_weight_ih, model.gru_weight_hh,
        model.gru_bias_ih, model.gru_bias_hh, model.posterior_hidden.weight[:, :9].contiguous(),
        model.posterior_head.weight, model.posterior_head.bias,
    ]  # fmt: skip
    parameters = [x.detach() for x in given.get("tensors", parameters)]
    ops, rest = torch.ops.planet, (False, given.get("isa", 0))

    def forward() -> Any:
        inputs = given["share"], given["action"], given["noise"]
        return ops.filter_chunk(*inputs, parameters, 0.1, *rest)

    def backward() -> Any:
        kept = given["kept"] if "kept" in given else forward()[-1]
        upstream = given.get("upstream", (None,) * 4)
        return ops.filter_chunk_backward(*upstream, given["noise"], parameters, kept, *rest)

    return forward, backward


RAW: list[tuple[int, dict[str, Any], str]] = [
    (0, {"share": torch.zeros(3, 17, 12)}, r"share: expected shape \[3, 17, 11\]"),
    (0, {"action": torch.zeros(3, 17, 2)}, r"action: expected shape \[3, 17, 3\]"),
    (0, {"noise": torch.zeros(3, 17, 7).double()}, "noise: expected dtype float32"),
    (0, {"noise": torch.zeros(3, 17)}, r"noise: expected sizes >= 1 in \[T, B, S\], got \[3, 17\]"),
    (0, {"noise": torch.zeros(3, 17, 14)[..., ::2]}, "noise: expected a contiguous tensor"),
    (0, {"tensors": []}, r"parameters: expected a value in \[9, 9\], got 0"),
    (0, {"tensors": [torch.zeros(11, 10)] * 9}, r"input_bias: expected shape \[11\]"),
    (0, {"isa": None}, "isa: expected an instruction set"),
    (0, {"isa": 99}, "isa: expected a value in"),
    (1, {"kept": torch.zeros(5)}, r"kept: expected shape \[\d+\], got \[5\]"),
    (1, {"upstream": (torch.zeros(3, 17, 8), None, None, None)},
     r"belief: expected shape \[3, 17, 9\]"),
    (1, {"upstream": (None, None, None, torch.zeros(3, 17, 8))},
     r"stddev: expected shape \[3, 17, 7\]"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "change", "message"), RAW, ids=[m for *_, m in RAW])
def test_raw_ops_refuse_what_would_not_be_safe(
    which: int, change: dict[str, Any], message: str
) -> None:
    raw()[which]()
    with pytest.raises(RuntimeError, match=message):
        raw(**change)[which]()
