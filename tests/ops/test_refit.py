"""Tests refits: a brute-force oracle, and the rules for ties, NaN, infinities and spread."""

from __future__ import annotations

import math
from itertools import product
from types import ModuleType

import pytest
import torch
from ops.tolerances import REFIT_RELATIVE, close
from torch import Tensor

NAN, INF = float("nan"), float("inf")


def brute_force_elites(returns: list[float], topk: int) -> list[int]:
    """Takes K times the first candidate that no other one beats."""
    left = list(range(len(returns)))
    chosen = []
    for _ in range(topk):
        best = left[0]
        for j in left[1:]:
            beats = returns[j] > returns[best]
            if beats or (math.isnan(returns[best]) and not math.isnan(returns[j])):
                best = j
        chosen.append(best)
        left.remove(best)
    return chosen


def brute_force(
    actions: Tensor, returns: Tensor, topk: int, spread: str, epsilon: float
) -> tuple[Tensor, Tensor, list[list[int]], list[float]]:
    """Computes mean and stddev [H, B, A] in float64, elites, best: one number at a time."""
    horizon, batch, _, size = actions.shape
    mean, stddev = torch.zeros(2, horizon, batch, size, dtype=torch.float64)
    elites = [brute_force_elites(returns[b].tolist(), topk) for b in range(batch)]
    for t in range(horizon):
        for b in range(batch):
            for a in range(size):
                values = [actions[t, b, j, a].item() for j in elites[b]]
                mu = math.fsum(values) / topk
                if spread == "population":
                    variance = math.fsum((x - mu) ** 2 for x in values) / topk
                    deviation = math.sqrt(variance + epsilon)
                else:
                    deviation = math.fsum(abs(x - mu) for x in values) / (topk - 1)
                mean[t, b, a], stddev[t, b, a] = mu, deviation
    return mean, stddev, elites, [returns[b, elites[b][0]].item() for b in range(batch)]


def random_case(
    horizon: int, batch: int, candidates: int, size: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    actions = torch.rand(horizon, batch, candidates, size, generator=generator) * 2 - 1
    return actions, torch.randn(batch, candidates, generator=generator)


def elites_of(ops: ModuleType, returns: list[float], topk: int) -> list[int]:
    """Elites of one problem; its actions tell the candidates apart, and mean must agree."""
    actions = torch.arange(len(returns), dtype=torch.float32).reshape(1, 1, -1, 1)
    fitted = ops.refit(actions, torch.tensor([returns]), topk=topk)
    elites: list[int] = fitted.elites[0].tolist()
    assert fitted.elites.dtype == torch.int64
    assert fitted.mean.item() == pytest.approx(sum(elites) / topk, rel=1e-6)
    best, expected = fitted.best.item(), returns[elites[0]]
    assert best == expected or (math.isnan(best) and math.isnan(expected))
    return elites


@pytest.mark.parametrize("spread", ["population", "mean_absolute"])
@pytest.mark.parametrize(
    ("horizon", "batch", "candidates", "size", "topk"),
    [(1, 1, 2, 1, 2), (3, 2, 7, 2, 3), (2, 3, 16, 5, 16), (4, 1, 33, 6, 5), (2, 2, 130, 3, 100)],
)
def test_refit_equals_brute_force(
    ops: ModuleType, horizon: int, batch: int, candidates: int, size: int, topk: int, spread: str
) -> None:
    actions, returns = random_case(horizon, batch, candidates, size)
    fitted = ops.refit(actions, returns, topk=topk, spread=spread, epsilon=1e-4)
    mean, stddev, elites, best = brute_force(actions, returns, topk, spread, 1e-4)
    assert fitted.elites.tolist() == elites
    assert fitted.best.tolist() == best
    assert close(fitted.mean, mean, 1e-9, REFIT_RELATIVE)
    assert close(fitted.stddev, stddev, 1e-9, REFIT_RELATIVE)
    for value, shape in ((fitted.mean, mean), (fitted.stddev, stddev)):
        assert value.shape == shape.shape
        assert value.dtype == torch.float32
        assert value.is_contiguous()


def test_refit_with_ties_and_nan_equals_brute_force(ops: ModuleType) -> None:
    generator = torch.Generator().manual_seed(4)
    for candidates in (1, 2, 3, 8, 31, 64, 257):
        choices = torch.tensor([1.0, -0.0, 0.0, NAN, INF, -INF, 1.0000001, 3.0e38, -(2.0**-149)])
        index = torch.randint(len(choices), (3, candidates), generator=generator)
        returns = choices[index]
        actions = torch.rand(1, 3, candidates, 1, generator=generator)
        for topk in {1, candidates, max(1, candidates // 3)}:
            fitted = ops.refit(actions, returns, topk=topk)
            expected = [brute_force_elites(row, topk) for row in returns.tolist()]
            assert fitted.elites.tolist() == expected


def test_refit_breaks_ties_by_lower_index(ops: ModuleType) -> None:
    assert elites_of(ops, [1.0, 2.0, 2.0, 1.0, 2.0], 4) == [1, 2, 4, 0]
    assert elites_of(ops, [5.0] * 100, 7) == list(range(7))


def test_refit_takes_negative_zero_and_zero_as_a_tie(ops: ModuleType) -> None:
    assert elites_of(ops, [-0.0, 0.0, -0.0, 0.0], 3) == [0, 1, 2]
    assert elites_of(ops, [-1.0, 0.0, -0.0, 2.0**-149], 3) == [3, 1, 2]


def test_refit_ranks_nan_last_whatever_its_sign(ops: ModuleType) -> None:
    assert elites_of(ops, [NAN, 1.0, NAN, -INF, 3.0], 3) == [4, 1, 3]
    assert elites_of(ops, [-NAN, 1.0, NAN, -INF, 3.0], 5) == [4, 1, 3, 0, 2]
    negative = torch.tensor([[0xFFC00001 - 2**32, 0]], dtype=torch.int32).view(torch.float32)
    fitted = ops.refit(torch.zeros(1, 1, 2, 1), negative, topk=2)
    assert fitted.elites.tolist() == [[1, 0]]


def test_refit_of_only_nan_takes_the_lowest_indices_and_reports_nan(ops: ModuleType) -> None:
    assert elites_of(ops, [NAN] * 5, 3) == [0, 1, 2]


def test_refit_ranks_infinities_as_numbers(ops: ModuleType) -> None:
    assert elites_of(ops, [-INF, INF, 0.0, INF, -INF, 2.0**127], 5) == [1, 3, 5, 2, 0]
    assert elites_of(ops, [-INF, -INF], 1) == [0]


def test_rows_are_ranked_on_their_own(ops: ModuleType) -> None:
    returns = torch.tensor([[1.0, 2.0, 3.0], [NAN, NAN, NAN], [3.0, NAN, 1.0]])
    fitted = ops.refit(torch.zeros(1, 3, 3, 1), returns, topk=2)
    assert fitted.elites.tolist() == [[2, 1], [0, 1], [0, 2]]
    assert math.isnan(fitted.best[1].item())
    assert fitted.best[[0, 2]].tolist() == [3.0, 3.0]


def test_one_elite_gives_its_own_action_and_the_spread_of_epsilon(ops: ModuleType) -> None:
    actions, returns = random_case(3, 2, 9, 4)
    fitted = ops.refit(actions, returns, topk=1, epsilon=1e-6)
    for b, j in enumerate(returns.argmax(dim=1).tolist()):
        assert torch.equal(fitted.mean[:, b], actions[:, b, j])
    assert torch.equal(fitted.stddev, torch.full_like(fitted.stddev, 1e-3))
    assert torch.equal(
        ops.refit(actions, returns, topk=1, epsilon=0.0).stddev, torch.zeros_like(fitted.stddev)
    )


def test_all_candidates_as_elites_give_mean_and_stddev_of_all(ops: ModuleType) -> None:
    actions, returns = random_case(3, 2, 50, 4)
    fitted = ops.refit(actions, returns, topk=50, epsilon=0.0)
    double = actions.double()
    assert close(fitted.mean, double.mean(dim=2), 1e-9, REFIT_RELATIVE)
    assert close(fitted.stddev, double.std(dim=2, unbiased=False), 1e-9, REFIT_RELATIVE)


def test_epsilon_is_added_to_the_variance_and_not_to_a_mean_absolute_spread(
    ops: ModuleType,
) -> None:
    actions = torch.full((2, 1, 4, 3), 0.25)
    returns = torch.zeros(1, 4)
    fitted = ops.refit(actions, returns, topk=4, epsilon=0.09)
    assert torch.allclose(fitted.stddev, torch.tensor(0.3), rtol=1e-6)
    fitted = ops.refit(actions, returns, topk=4, spread="mean_absolute", epsilon=0.09)
    assert torch.equal(fitted.stddev, torch.zeros(2, 1, 3))


def test_a_small_spread_around_a_large_mean_survives(ops: ModuleType) -> None:
    # In float32 sums the spread 2**-10 around 4096 would drown in rounding.
    actions = 4096.0 + torch.tensor([0.0, 2.0, 0.0, 2.0]).reshape(1, 1, 4, 1) * 2.0**-10
    fitted = ops.refit(actions, torch.zeros(1, 4), topk=4, epsilon=0.0)
    assert fitted.stddev.item() == 2.0**-10


def test_refit_takes_any_strides_and_leaves_its_arguments_alone(ops: ModuleType) -> None:
    actions, returns = random_case(3, 2, 10, 4)
    strided = actions.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    copies = strided.clone(), returns.clone()
    expected = ops.refit(actions, returns, topk=4)
    got = ops.refit(strided, returns.T.contiguous().T, topk=4)
    for name in ("mean", "stddev", "elites", "best"):
        assert torch.equal(getattr(got, name), getattr(expected, name))
    assert torch.equal(strided, copies[0])
    assert torch.equal(returns, copies[1])


@pytest.mark.parametrize(
    ("horizon", "batch", "candidates", "size", "topk"),
    [(12, 3, 1000, 6, 100), (3, 5, 64, 65, 7), (2, 3, 255, 1, 255), (2, 2, 257, 130, 2),
     (1, 1, 5000, 2, 2048)],
)  # fmt: skip
def test_backends_agree_on_refit(
    both: tuple[ModuleType, ModuleType],
    horizon: int, batch: int, candidates: int, size: int, topk: int,
) -> None:  # fmt: skip
    actions, distinct = random_case(horizon, batch, candidates, size)
    many_ties = (distinct * 3).round()
    many_ties[0, ::3] = NAN
    for returns, spread in product((distinct, many_ties), ("population", "mean_absolute")):
        a, b = (ops.refit(actions, returns, topk=topk, spread=spread) for ops in both)
        assert torch.equal(a.elites, b.elites)
        assert torch.equal(a.best, b.best)
        assert close(b.mean, a.mean, 1e-9, REFIT_RELATIVE)
        assert close(b.stddev, a.stddev, 1e-9, REFIT_RELATIVE)


# ---- Weights -------------------------------------------------------------------------------------


def weighed(
    ops: ModuleType, returns: list[float], temperature: float, topk: int | None = None
) -> list[float]:
    """Reads from a refit what each candidate weighs: its action is 1 in a dimension of its own."""
    actions = torch.eye(len(returns))[None, None]
    topk = len(returns) if topk is None else topk
    fitted = ops.refit(actions, torch.tensor([returns]), topk=topk, temperature=temperature)
    weights: list[float] = fitted.mean[0, 0].tolist()
    return weights


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_elites_weigh_as_a_softmax_of_returns(ops: ModuleType, temperature: float) -> None:
    actions, returns = random_case(3, 2, 40, 4)
    for topk in (1, 2, 17, 40):
        fitted = ops.refit(actions, returns, topk=topk, temperature=temperature, epsilon=1e-4)
        assert torch.equal(fitted.elites, ops.refit(actions, returns, topk=topk).elites)
        assert torch.equal(fitted.best, returns.amax(dim=1))
        for b in range(2):
            chosen = actions[:, b, fitted.elites[b]].double()
            weight = torch.softmax(returns[b, fitted.elites[b]].double() / temperature, dim=0)
            mean = torch.einsum("k,tka->ta", weight, chosen)
            variance = torch.einsum("k,tka->ta", weight, (chosen - mean[:, None]).square())
            assert close(fitted.mean[:, b], mean, 1e-9, REFIT_RELATIVE)
            assert close(fitted.stddev[:, b], (variance + 1e-4).sqrt(), 1e-9, REFIT_RELATIVE)


def test_candidates_that_are_no_elites_weigh_nothing(ops: ModuleType) -> None:
    assert weighed(ops, [1.0, 5.0, 4.0, 5.0], 1e9, topk=2) == [0.0, 0.5, 0.0, 0.5]


def test_returns_far_from_zero_weigh_by_their_differences(ops: ModuleType) -> None:
    for offset in (0.0, 2.0**22, -(2.0**22), 2.0**127):
        unit = max(1.0, offset * 2.0**-20)
        got = weighed(ops, [offset, offset - unit], temperature=unit)
        assert got == pytest.approx([0.7310586, 0.2689414], rel=1e-6)


def test_a_nan_return_weighs_nothing_unless_all_are(ops: ModuleType) -> None:
    assert weighed(ops, [NAN, 1.0, NAN, 1.0], 0.5) == [0.0, 0.5, 0.0, 0.5]
    assert weighed(ops, [NAN, -NAN, NAN, NAN], 0.5) == [0.25] * 4
    assert weighed(ops, [NAN, NAN, NAN, NAN], 0.5, topk=2) == [0.5, 0.5, 0.0, 0.0]


def test_infinite_returns_share_all_the_weight(ops: ModuleType) -> None:
    assert weighed(ops, [INF, 1.0, INF, NAN], 0.5) == [0.5, 0.0, 0.5, 0.0]
    assert weighed(ops, [-INF, 1.0, 1.0, -INF], 0.5) == [0.0, 0.5, 0.5, 0.0]
    assert weighed(ops, [-INF, NAN, -INF, NAN], 0.5) == [0.5, 0.0, 0.5, 0.0]


def test_the_smallest_and_the_largest_temperature_give_no_nan(ops: ModuleType) -> None:
    for returns in ([1.0, 3.0, 2.0], [3.0e38, -3.0e38, 0.0], [2.0**-149, 0.0, -0.0]):
        best = max(range(3), key=returns.__getitem__)
        assert weighed(ops, returns, 5e-324) == [float(j == best) for j in range(3)]
        assert weighed(ops, returns, 1.7e308) == pytest.approx([1 / 3] * 3, rel=1e-6)
    assert weighed(ops, [2.0, 1.0, 2.0], 5e-324) == [0.5, 0.0, 0.5]


def test_a_temperature_of_none_is_the_default(ops: ModuleType) -> None:
    actions, returns = random_case(3, 2, 40, 4)
    for spread in ("population", "mean_absolute"):
        a = ops.refit(actions, returns, topk=7, spread=spread)
        b = ops.refit(actions, returns, topk=7, spread=spread, temperature=None)
        assert torch.equal(a.mean, b.mean)
        assert torch.equal(a.stddev, b.stddev)


def test_backends_agree_on_weighed_refits(both: tuple[ModuleType, ModuleType]) -> None:
    for candidates, topk, heat in product((3, 64, 500), (2, 3), (0.01, 1.0, 100.0)):
        actions, returns = random_case(4, 3, candidates, 5, seed=topk)
        returns[1, ::2] = returns[1, 0]
        returns[2, 1:] = NAN
        a, b = (ops.refit(actions, returns, topk=topk, temperature=heat) for ops in both)
        assert torch.equal(a.elites, b.elites)
        assert close(b.mean, a.mean, 1e-9, REFIT_RELATIVE)
        assert close(b.stddev, a.stddev, 1e-9, REFIT_RELATIVE)
