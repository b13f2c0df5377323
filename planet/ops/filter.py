"""Filters chunks by the compiled core on the CPU, with gradients.

`LatentModel.filter_chunk` is the specification: float32, the same equations, results and
gradients within rounding. Results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from planet.errors.checks import check_choice, check_device, check_shape
from planet.ops.checks import _check_sizes, _check_tensor
from planet.ops.fused import instruction_set
from planet.weights.parameters import RecurrentParameters

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]


class PosteriorParameters(RecurrentParameters, Protocol):
    """The parameters of prior and posterior: `planet.models.latent_model.LatentModel`."""

    @property
    def posterior_hidden(self) -> nn.Linear:
        """Maps belief and embedding to [M], columns of the belief first."""

    @property
    def posterior_weight(self) -> Tensor:
        """[2S, M], rows of the mean first, then of the raw stddev."""

    @property
    def posterior_bias(self) -> Tensor:
        """[2S]."""


def filter_chunk(
    parameters: PosteriorParameters, share: Tensor, action: Tensor, noise: Tensor
) -> Outputs:
    """Filters a whole chunk from the zero latent; Hafner et al. (ICML 2019), Section 3.

    x = act(W_in [s, a] + b_in); h' = GRU(x, h); [mean, raw] = W_s act(share + W_p h') + b_s;
    stddev = softplus(raw) + min_stddev; s' = mean + stddev * noise.

    Share and parameters get gradients, which cannot be differentiated again.

    Args:
      parameters: of the model; float32 on the CPU.
      share: what the embeddings add to the posterior's hidden layer, its bias included: [T, B, M].
      action: [T, B, A]; action[t] led to observation t. It gets no gradient.
      noise: standard normal [T, B, S]. It gets no gradient.

    Returns:
      Belief [T, B, D], state, and the posterior's mean and stddev [T, B, S].

    Raises:
      ImportError: the extension is missing.
      TypeError: an argument is no dense float32 tensor.
      ValueError: a shape or device does not fit, action or noise asks for a gradient, or the
        stddev is not that of "add".
      RuntimeError: gradients are asked for with `create_graph`.
    """
    isa = instruction_set()
    named = _named_tensors(parameters)
    _check(parameters, named, share, action, noise)
    outputs: Outputs = _FilterChunk.apply(  # type: ignore[no-untyped-call]
        share, action, noise, float(parameters.min_stddev), parameters.activation == "elu", isa,
        *named.values(),
    )  # fmt: skip
    return outputs


class _FilterChunk(torch.autograd.Function):
    """Calls the ops forward and backward; what the latter reads is kept between them."""

    @staticmethod
    def forward(
        ctx: Any, share: Tensor, action: Tensor, noise: Tensor, min_stddev: float, elu: bool,
        isa: int, *parameters: Tensor,
    ) -> Outputs:  # fmt: skip
        noise, dense = noise.contiguous(), [tensor.contiguous() for tensor in parameters]
        *outputs, kept = torch.ops.planet.filter_chunk(
            share.contiguous(), action.contiguous(), noise, dense, min_stddev, elu, isa
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(noise, kept, *dense)
        ctx.settings = elu, isa
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph: expected False, the compiled filter is differentiable once, got "
                "True; use backend='reference'"
            )
        noise, kept, *parameters = ctx.saved_tensors
        given = [None if gradient is None else gradient.contiguous() for gradient in upstream]
        share, *gradients = torch.ops.planet.filter_chunk_backward(
            *given, noise, parameters, kept, *ctx.settings
        )
        return (share, *[None] * 5, *gradients)


def _named_tensors(parameters: PosteriorParameters) -> dict[str, Tensor]:
    """Lists the parameters in the order of the op."""
    hidden = parameters.posterior_hidden
    return {
        "input_weight": parameters.input_weight,
        "input_bias": parameters.input_bias,
        "gru_weight_ih": parameters.gru_weight_ih,
        "gru_weight_hh": parameters.gru_weight_hh,
        "gru_bias_ih": parameters.gru_bias_ih,
        "gru_bias_hh": parameters.gru_bias_hh,
        "posterior_hidden.weight": hidden.weight[:, : parameters.gru_weight_hh.shape[1]],
        "posterior_weight": parameters.posterior_weight,
        "posterior_bias": parameters.posterior_bias,
    }


def _check(
    parameters: PosteriorParameters, named: dict[str, Tensor], share: Tensor, action: Tensor,
    noise: Tensor,
) -> None:  # fmt: skip
    check_choice("parameters.stddev", parameters.stddev, ["add"])
    cpu = torch.device("cpu")
    for name, tensor in named.items():
        if tensor.dtype != torch.float32:
            raise TypeError(f"parameters.{name}: expected torch.float32, got {tensor.dtype}")
        check_device(f"parameters.{name}", tensor, cpu)
    _check_tensor("share", share, "[T, B, M]")
    _check_sizes("share", share, "[T, B, M]")
    steps, batch, _ = share.shape
    hidden, inputs = parameters.input_weight.shape
    state = named["posterior_bias"].shape[0] // 2
    expected = (
        ("share", share, hidden, "[T, B, M]"),
        ("action", action, inputs - state, "[T, B, A]"),
        ("noise", noise, state, "[T, B, S]"),
    )
    for name, tensor, features, layout in expected:
        _check_tensor(name, tensor, layout)
        check_shape(name, tensor, (steps, batch, features), layout)
        check_device(name, tensor, cpu)
        if name != "share" and tensor.requires_grad:
            raise ValueError(f"{name}: expected a tensor that needs no gradient, got one that does")
