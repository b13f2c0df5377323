"""Tests rollouts: oracles for every equation, and what noise, start and discount mean."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from ops.tolerances import RETURNS, close, returns_error
from random_weights import PRESET_SIZES, TINY, TINY_SSM, Problem, Sizes, make_problem, make_weights
from torch import Tensor, nn

from planet.latent import LatentState
from planet.noise import STREAM_STATE, Noise, normals, row_seeds
from planet.ops import equations, reference
from planet.weights.rollout_weights import RolloutWeights

ONE_HIDDEN = Sizes(belief=16, state=9, action=4, hidden=24, reward=(20,))
EACH_TRANSITION = pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])


def oracle_returns(
    problem: Problem, actions: Tensor, noise: Tensor | None, discount: float = 1.0
) -> Tensor:
    """Returns [B, J] in float64 with PyTorch's own modules, one candidate at a time."""
    weights, latent = problem.weights, problem.latent
    recurrent = weights.belief_size > 0
    if recurrent:
        cell = nn.GRUCell(weights.hidden_size, weights.belief_size).double()
        with torch.no_grad():
            cell.weight_ih.copy_(weights.gru_weight_ih)
            cell.weight_hh.copy_(weights.gru_weight_hh)
            cell.bias_ih.copy_(weights.gru_bias_ih)
            cell.bias_hh.copy_(weights.gru_bias_hh)
    act = {"relu": nn.ReLU(), "elu": nn.ELU()}[weights.activation]
    layers: list[nn.Module] = []
    for weight, bias in zip(weights.reward_weights, weights.reward_biases, strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0]).double()
        linear.weight.data, linear.bias.data = weight.double(), bias.double()
        layers += [linear, act]
    head = nn.Sequential(*layers[:-1])
    survival = [nn.Sigmoid()] if weights.continuation else []
    horizon, batch, candidates, _ = actions.shape
    returns = torch.zeros(batch, candidates, dtype=torch.float64)
    for b in range(batch):
        for j in range(candidates):
            at = (b, j) if latent.belief.dim() == 3 else (b,)
            h, s = latent.belief[at].double(), latent.state[at].double()
            going = 1.0
            for t in range(horizon):
                x = torch.cat([s, actions[t, b, j].double()])
                x = act(weights.input_weight.double() @ x + weights.input_bias.double())
                if recurrent:
                    x = h = cell(x[None], h[None])[0]
                p = weights.prior_hidden_weight.double() @ x + weights.prior_hidden_bias.double()
                out = weights.prior_weight.double() @ act(p) + weights.prior_bias.double()
                s, raw = out[: weights.state_size], out[weights.state_size :]
                if noise is not None:
                    stddev = F.softplus(raw)
                    if weights.stddev == "clamp":
                        stddev = torch.maximum(stddev, torch.tensor(weights.min_stddev))
                    else:
                        stddev = stddev + weights.min_stddev
                    normal = torch.distributions.Normal(s, stddev)
                    # The quantile of a standard normal's probability: mean + stddev * noise.
                    s = normal.icdf(torch.special.ndtr(noise[t, b, j].double()))
                outcome = head(torch.cat([h, s]))
                returns[b, j] += going * discount**t * outcome[0].item()
                for function in survival:
                    going *= function(outcome[1]).item()
    return returns.detach()


def test_gru_cell_is_torch_nn_grucell() -> None:
    cell = nn.GRUCell(7, 5).double()  # so that the equations are compared, not the rounding
    x, h = torch.randn(11, 7).double(), torch.randn(11, 5).double()
    got = equations.gru_cell(x, h, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    assert close(got, cell(x, h), 1e-12)


@pytest.mark.parametrize("stddev", ["add", "clamp"])
def test_gaussian_head_samples_torch_distributions_normal(stddev: str) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(4, 7, generator=generator), torch.randn(6, 7, generator=generator)
    bias, noise = torch.randn(6, generator=generator), torch.randn(4, 3, generator=generator)
    out = hidden @ weight.T + bias
    positive = F.softplus(out[:, 3:])
    least = positive.median().item() if stddev == "clamp" else 0.25
    got = equations.gaussian_head(hidden, weight, bias, least, stddev)
    scale = positive.maximum(torch.tensor(least)) if stddev == "clamp" else positive + least
    expected = torch.distributions.Normal(out[:, :3], scale)
    assert close(got.mean, expected.loc, 1e-6)
    assert close(got.stddev, expected.scale, 1e-6)
    quantile = expected.icdf(torch.special.ndtr(noise.double()))
    assert close(got.sample(noise), quantile, 1e-5, 1e-5)
    assert got.stddev.min() >= least


@pytest.mark.parametrize(("activation", "stddev"), [("relu", "add"), ("elu", "clamp")])
@pytest.mark.parametrize(
    "sizes",
    [
        TINY,
        ONE_HIDDEN,
        Sizes(1, 1, 1, 1, ()),
        TINY_SSM,
        Sizes(0, 9, 4, 24, ()),
        Sizes(0, 1, 1, 1, (9,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("noisy", [True, False], ids=["sampled", "mean"])
def test_returns_equal_torch_modules_one_candidate_at_a_time(
    ops: ModuleType, sizes: Sizes, activation: str, stddev: str, noisy: bool
) -> None:
    problem = make_problem(sizes, 2, activation=activation, stddev=stddev, scale=2.0)
    actions, noise = problem.actions(4, 5), problem.noise(4, 5) if noisy else None
    got = problem.returns(ops, actions, noise)
    assert got.shape == (2, 5)
    assert got.dtype == torch.float32
    assert returns_error(got, oracle_returns(problem, actions, noise)) <= RETURNS[2.0]


@pytest.mark.parametrize("sizes", [ONE_HIDDEN, replace(ONE_HIDDEN, belief=0)], ids=str)
def test_returns_of_many_steps_equal_torch_modules(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 1)
    actions, noise = problem.actions(60, 2), problem.noise(60, 2)
    got = problem.returns(ops, actions, noise)
    assert returns_error(got, oracle_returns(problem, actions, noise)) <= RETURNS[1.0]


@EACH_TRANSITION
def test_named_noise_is_the_state_stream_of_each_problem(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 3)
    actions, seeds = problem.actions(4, 10), row_seeds(8, 3)
    drawn = [
        normals(seeds, 10, 3, stream=STREAM_STATE, time=t, iteration=6, particle=9)
        for t in range(4)
    ]
    got = problem.returns(ops, actions, Noise(seeds, 6, 9))
    expected = problem.returns(ops, actions, torch.stack(drawn))
    assert returns_error(got, expected) <= RETURNS[1.0]
    by_int = problem.returns(ops, actions, Noise(8, 6, 9))
    assert torch.equal(by_int, got)
    for other in (Noise(8, 6, 8), Noise(8, 5, 9), Noise(9, 6, 9)):
        returns = problem.returns(ops, actions, other)
        assert not torch.isclose(returns, got, rtol=1e-4).any()


@EACH_TRANSITION
def test_no_noise_follows_the_prior_mean(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 2)
    actions = problem.actions(4, 6)
    zeros = torch.zeros(4, 2, 6, 3)
    got = problem.returns(ops, actions, None)
    expected = problem.returns(ops, actions, zeros)
    assert returns_error(got, expected) <= RETURNS[1.0]


def sampling_weights(**values: Tensor | str | float) -> RolloutWeights:
    """Makes a model of zeros, but for `values`; its reward is the sum of the two states."""
    tensors = {
        name: torch.zeros_like(value)
        for name, value in vars(make_weights(Sizes(2, 2, 1, 2, ()))).items()
        if isinstance(value, Tensor)
    }
    head = {"reward_weights": [torch.tensor([[0.0, 0.0, 1.0, 1.0]])]}
    return RolloutWeights(**{**tensors, **head, **values}, reward_biases=[torch.zeros(1)])


@pytest.mark.parametrize(("stddev", "one"), [("add", math.log(2) + 0.25), ("clamp", math.log(2))])
def test_the_smallest_stddev_is_added_or_clamped_at(
    ops: ModuleType, stddev: str, one: float
) -> None:
    # softplus of the raw stddevs is 0 and ln 2.
    raw = torch.tensor([0.0, 0.0, -100.0, 0.0])
    weights = sampling_weights(prior_bias=raw, stddev=stddev, min_stddev=0.25)
    noise = torch.randn(3, 1, 5, 2, generator=torch.Generator().manual_seed(0))
    latent = LatentState(torch.zeros(1, 2), torch.zeros(1, 2))
    got = ops.rollout_returns(weights, latent, torch.zeros(3, 1, 5, 1), noise)
    assert close(got[0], (torch.tensor([0.25, one]) * noise[:, 0]).sum(dim=(0, 2)), 1e-6)


@pytest.mark.parametrize("stddev", ["add", "clamp"])
def test_a_raw_stddev_that_is_nan_gives_nan(ops: ModuleType, stddev: str) -> None:
    # The hidden layer is infinite, and so are the means; a raw stddev is inf - inf.
    weights = sampling_weights(
        prior_hidden_weight=torch.full((2, 2), 3e38),
        prior_hidden_bias=torch.full((2,), 3e38),
        prior_weight=torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, -1.0], [1.0, -1.0]]),
        stddev=stddev,
    )
    latent = LatentState(torch.ones(1, 2), torch.zeros(1, 2))
    assert ops.rollout_returns(weights, latent, torch.zeros(1, 1, 5, 1), Noise(1)).isnan().all()


@EACH_TRANSITION
def test_discount_weights_reward_t_by_its_power(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 2)
    actions, noise = problem.actions(5, 6), problem.noise(5, 6)
    totals = [torch.zeros(2, 6, dtype=torch.float64)]
    for horizon in range(1, 6):
        part = problem.returns(ops, actions[:horizon], noise[:horizon])
        totals.append(part.double())
    rewards = [after - before for before, after in zip(totals, totals[1:], strict=False)]
    for discount in (0.0, 0.5, 0.99, -0.5, 1.5):
        expected = sum(discount**t * reward for t, reward in enumerate(rewards))
        got = problem.returns(ops, actions, noise, discount=discount)
        assert close(got, expected, 1e-5), discount


def test_the_first_reward_is_read_after_the_first_action(ops: ModuleType) -> None:
    problem = make_problem(TINY, 1)
    actions = problem.actions(1, 3)
    returns = problem.returns(ops, actions, None)
    assert len(set(returns[0].tolist())) == 3
    shifted = LatentState(problem.latent.belief + 0.5, problem.latent.state)
    assert not torch.equal(ops.rollout_returns(problem.weights, shifted, actions, None), returns)


@EACH_TRANSITION
def test_one_start_per_candidate_equals_problems_of_their_own(
    ops: ModuleType, sizes: Sizes
) -> None:
    problem = make_problem(sizes, 2, candidates=7)
    actions, noise = problem.actions(4, 7), problem.noise(4, 7)
    got = problem.returns(ops, actions, noise)
    assert returns_error(got, oracle_returns(problem, actions, noise)) <= RETURNS[1.0]
    shared = make_problem(sizes, 2)
    spread = LatentState(
        shared.latent.belief[:, None].expand(-1, 7, -1),
        shared.latent.state[:, None].expand(-1, 7, -1),
    )
    a = shared.returns(ops, actions, noise)
    b = ops.rollout_returns(shared.weights, spread, actions, noise)
    assert torch.equal(a, b)


def test_a_problem_alone_equals_its_row_of_a_batch(ops: ModuleType) -> None:
    """Start, actions and noise of a row belong together.

    The official code tiles starts candidate-major and actions batch-major, so that from two
    problems on a candidate starts from another problem's latent.
    """
    problem = make_problem(PRESET_SIZES["small"], 4)
    actions, seeds = problem.actions(6, 9), row_seeds(2, 4)
    batch = problem.returns(ops, actions, Noise(2))
    for b in range(4):
        row = slice(b, b + 1)
        alone = problem.rows(row).returns(ops, actions[:, row], Noise(seeds[row]))
        scalar = problem.rows(row).returns(ops, actions[:, row], Noise(seeds[b]))
        assert torch.equal(alone, scalar)
        if ops is reference:
            assert returns_error(alone, batch[row]) <= RETURNS[1.0]
        else:
            assert torch.equal(alone, batch[row])


@EACH_TRANSITION
def test_rollouts_take_any_strides_and_leave_their_arguments_alone(
    ops: ModuleType, sizes: Sizes
) -> None:
    problem = make_problem(sizes, 2)
    actions, noise = problem.actions(4, 6), problem.noise(4, 6)
    expected = problem.returns(ops, actions, noise)

    def strided(x: Tensor) -> Tensor:
        order = tuple(reversed(range(x.dim())))
        return x.permute(order).contiguous().permute(order)

    latent = LatentState(strided(problem.latent.belief), strided(problem.latent.state))
    arguments = (latent.belief, latent.state, strided(actions), strided(noise))
    copies = [x.clone() for x in arguments]
    got = ops.rollout_returns(problem.weights, latent, *arguments[2:])
    assert torch.equal(got, expected)
    assert all(map(torch.equal, arguments, copies))


def test_rollouts_need_no_gradient_and_give_none(ops: ModuleType) -> None:
    problem = make_problem(TINY, 1)
    actions = problem.actions(2, 3).requires_grad_()
    assert not problem.returns(ops, actions, None).requires_grad


@EACH_TRANSITION
def test_float32_stays_float32_inside_autocast(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 2)
    actions = problem.actions(3, 8)
    expected = problem.returns(ops, actions, Noise(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = problem.returns(ops, actions, Noise(1))
    assert torch.equal(got, expected)


@EACH_TRANSITION
def test_nan_actions_spoil_only_their_own_candidate(ops: ModuleType, sizes: Sizes) -> None:
    problem = make_problem(sizes, 2)
    actions, noise = problem.actions(3, 20), problem.noise(3, 20)
    expected = problem.returns(ops, actions, noise)
    actions[1, 0, 3, 0] = float("nan")
    got = problem.returns(ops, actions, noise)
    assert math.isnan(got[0, 3].item())
    keep = torch.ones(2, 20, dtype=torch.bool)
    keep[0, 3] = False
    assert torch.equal(got[keep], expected[keep])


@pytest.mark.parametrize("size", list(PRESET_SIZES))
@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("transition", ["rssm", "ssm"])
def test_backends_agree_on_returns(
    both: tuple[ModuleType, ModuleType], size: str, activation: str, transition: str
) -> None:
    sizes = PRESET_SIZES[size] if transition == "rssm" else replace(PRESET_SIZES[size], belief=0)
    # Seed 5: rewards that do not cancel, see the table of tolerances.
    problem = make_problem(sizes, 2, seed=5, activation=activation)
    actions = problem.actions(12, 50)
    for noise in (Noise(7, 3), problem.noise(12, 50), None):
        a, b = (problem.returns(ops, actions, noise) for ops in both)
        assert returns_error(b, a) <= RETURNS[1.0]
