"""Designs on linear-Gaussian systems: Kalman's filter, exact likelihoods, least squares."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from models.linear_designs import LEAST, Double, Matrix, System, written
from torch import Tensor

from planet.config import TrainConfig
from planet.protocols import Chunk
from planet.training.loss import sequence_loss

T, S, A, V = 20, 4, 2, 3
COUPLED = System(
    a=np.array([[0.9, 0.2, 0.0, 0.0], [-0.2, 0.9, 0.1, 0.0], [0.0, 0.0, 0.7, 0.3],
                [0.1, 0.0, -0.3, 0.7]]),
    b=np.array([[0.5, 0.0], [0.0, 0.5], [0.3, -0.2], [0.0, 0.4]]),
    c=np.array([[1.0, 0.0, 0.5, 0.0], [0.0, 2.0, 0.0, 0.3], [0.4, 0.0, -1.0, 0.8]]),
    q=np.diag([0.09, 0.04, 0.16, 0.01]),
)  # fmt: skip
# Two numbers go on and have no noise; two are drawn anew around them, and nothing follows from
# them. So the posterior given the state before and the newest observation is the exact one.
FORGOTTEN = System(
    a=np.array([[0.0, 0.0, 0.8, 0.1], [0.0, 0.0, -0.5, 0.6], [0.0, 0.0, 0.9, 0.3],
                [0.0, 0.0, -0.3, 0.9]]),
    b=COUPLED.b,
    c=np.array([[1.0, 0.5, 0.2, 0.0], [-0.5, 1.0, 0.0, 0.7], [0.0, 0.0, 0.3, 0.4]]),
    q=np.diag([0.25, 0.49, 0.0, 0.0]),
)  # fmt: skip
each_transition = pytest.mark.parametrize("transition", ["ssm", "rssm"])


def data(system: System, rows: int = 1) -> tuple[Tensor, Matrix]:
    """Observations [T, V] that the vectors' compression undoes, and actions [T, A]."""
    random = np.random.default_rng(3)
    action, state, seen = random.uniform(-1, 1, (T, A)), np.zeros(S), []
    for t in range(T):
        drawn = random.multivariate_normal(np.zeros(S), system.q)
        state = system.a @ state + system.b @ action[t] + drawn
        seen.append(system.c @ state + random.standard_normal(V))
    observation = torch.tensor(np.array(seen), dtype=torch.float32)
    return torch.sign(observation) * torch.expm1(observation.abs()), action


def filtered(model: Double, vector: Tensor, action: Matrix, noise: Tensor | None = None) -> Any:
    inputs = model.inputs({"vector": vector[:, None]}, torch.zeros(1, dtype=torch.int64))
    drawn = torch.zeros(T, 1, S, dtype=torch.float64) if noise is None else noise
    return inputs["vector"][:, 0], model.filter_chunk(
        model.embed(inputs), torch.from_numpy(action)[:, None], drawn
    )


def steady(system: System) -> tuple[Matrix, Matrix, Matrix]:
    """Covariances before and after an observation that repeat themselves, and the gain."""
    before = np.eye(S)
    for _ in range(2000):
        seen = system.c @ before @ system.c.T + np.eye(V)
        gain = before @ system.c.T @ np.linalg.inv(seen)
        after = (np.eye(S) - gain @ system.c) @ before
        before = system.a @ after @ system.a.T + system.q
    return before, after, gain


@each_transition
def test_a_kalman_gain_in_the_posterior_gives_kalmans_means_and_variances(transition: str) -> None:
    """Against the Gaussian of all states and observations, conditioned on those so far."""
    before, after, gain = steady(COUPLED)
    stddevs = np.sqrt(np.diag(before)), np.sqrt(np.diag(after))
    model = written(COUPLED, gain, *stddevs, transition=transition)
    vector, action = data(COUPLED)
    inputs, got = filtered(model, vector, action)
    mean, covariance, seen, of_seen, between = COUPLED.joint(T, action, before)
    for t in range(T):
        states, past = slice(t * S, t * S + S), {"prior": t * V, "posterior": t * V + V}
        for name, until in past.items():
            known = np.linalg.solve(of_seen[:until, :until], between[states, :until].T).T
            error = inputs.numpy().ravel()[:until] - seen[:until]
            left = covariance[states, states] - known @ between[states, :until].T
            gaussian = getattr(got, name)
            expected = mean[states] + known @ error
            np.testing.assert_allclose(gaussian.mean[t, 0].detach(), expected, atol=1e-5)
            variance = gaussian.stddev[t, 0].detach().square()
            np.testing.assert_allclose(variance, np.diag(left), atol=1e-5)


def bound(model: Double, vector: Tensor, action: Matrix, monkeypatch: pytest.MonkeyPatch) -> float:
    """The bound on the log likelihood in nats, its expectation taken exactly.

    The loss is quadratic in the noise, so its mean over plus and minus sqrt(n) times the n unit
    vectors of noise is its expectation.
    """
    numbers = T * S
    points = math.sqrt(numbers) * torch.cat([torch.eye(numbers), -torch.eye(numbers)]).double()
    rows, noise = len(points), points.reshape(-1, T, S)
    monkeypatch.setattr("planet.training.loss.draws.normals", lambda *_, **__: noise)
    config = TrainConfig(free_nats=0.0, reward_weight=0.0)
    none = torch.zeros(T, rows)
    chunk = Chunk(
        {"vector": vector[:, None].expand(T, rows, V)},
        torch.from_numpy(action)[:, None].expand(T, rows, A), none.double(), none.bool(),
    )  # fmt: skip
    with torch.no_grad():
        terms = sequence_loss(model, chunk, config, torch.zeros(rows, dtype=torch.int64))
    return -T * float(terms["total"]) - T * V * 0.5 * math.log(2 * math.pi)


@each_transition
def test_the_bound_is_the_log_likelihood_where_the_posterior_is_exact(
    transition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds of FORGOTTEN, from q(s | past, o) = N(m + P C'(o - C m), P), 1 / P = 1 / Q + C'C."""
    fresh = FORGOTTEN.c[:, :2]
    variance = np.linalg.inv(np.diag(1 / np.diag(FORGOTTEN.q)[:2]) + fresh.T @ fresh)
    assert np.allclose(variance, np.diag(np.diag(variance)))
    gain = np.vstack([variance @ fresh.T, np.zeros((2, V))])
    kept = [LEAST, LEAST]
    prior = np.array([*np.sqrt(np.diag(FORGOTTEN.q)[:2]), *kept])
    posterior = np.array([*np.sqrt(np.diag(variance)), *kept])
    vector, action = data(FORGOTTEN)
    model = written(FORGOTTEN, gain, prior, posterior, transition=transition)
    seen = filtered(model, vector, action)[0].numpy()
    exact = FORGOTTEN.log_likelihood(seen, action)
    assert bound(model, vector, action, monkeypatch) == pytest.approx(exact, abs=1e-5)
    for wrong in (1.1 * gain, 0.0 * gain):
        other = written(FORGOTTEN, wrong, prior, posterior, transition=transition)
        assert bound(other, vector, action, monkeypatch) < exact - 1e-3
    other = written(FORGOTTEN, gain, prior, 1.1 * posterior, transition=transition)
    assert bound(other, vector, action, monkeypatch) < exact - 1e-3


@each_transition
def test_no_posterior_bounds_the_log_likelihood_from_above(
    transition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later observations say more of COUPLED's states than any posterior of the design knows."""
    vector, action = data(COUPLED)
    prior, random = np.sqrt(np.diag(COUPLED.q)), np.random.default_rng(0)
    precision = np.diag(1 / np.diag(COUPLED.q)) + COUPLED.c.T @ COUPLED.c
    best = np.linalg.inv(precision)
    gains = [best @ COUPLED.c.T, *(random.normal(0, 0.2, (S, V)) for _ in range(2))]
    for gain in gains:
        posterior = np.sqrt(np.diag(best)) * random.uniform(0.5, 1.5)
        model = written(COUPLED, gain, prior, posterior, transition=transition)
        exact = COUPLED.log_likelihood(filtered(model, vector, action)[0].numpy(), action)
        assert bound(model, vector, action, monkeypatch) < exact - 1e-3


@pytest.mark.parametrize(
    "design",
    [
        {"posterior": "encoder", "transition": "ssm"},
        {"posterior": "encoder", "transition": "ssm", "stochastic": False},
        {"posterior": "encoder", "transition": "rssm"},
        {"stochastic": False},
    ],
    ids=["encoder", "encoder of means", "encoder with a belief", "RNN"],
)
def test_least_squares_finds_the_dynamics_of_states_in_what_the_prior_reads(
    design: dict[str, Any],
) -> None:
    """Seen whole, states s = G x of x' = A x + B a go on as G A G^-1 s + G B a."""
    random = np.random.default_rng(1)
    mixed = np.eye(S) + 0.3 * random.standard_normal((S, S))
    back, still = np.linalg.inv(mixed), np.zeros((S, S))
    action, state, seen = random.uniform(-1, 1, (T, A)), np.zeros(S), []
    for t in range(T):
        state = COUPLED.a @ state + COUPLED.b @ action[t]
        seen.append(state)
    observation = torch.tensor(np.array(seen), dtype=torch.float32)
    moved = System(mixed @ COUPLED.a @ back, mixed @ COUPLED.b, back, still)
    model = written(moved, mixed, np.full(S, 0.1), np.full(S, 0.1), **design)
    read: list[Tensor] = []  # by the prior's head
    model.latent_model.prior_head.register_forward_hook(lambda _, x, __: read.append(x[0]))
    vector = torch.sign(observation) * torch.expm1(observation.abs())
    _, got = filtered(model, vector, action)
    states, inputs = got.posterior.mean[:, 0].detach(), read[-1].reshape(T, -1).detach()
    expected = observation.double() @ torch.from_numpy(mixed).T
    np.testing.assert_allclose(states, expected, atol=1e-6)
    np.testing.assert_allclose(got.prior.mean[:, 0].detach(), expected, atol=1e-5)
    assert explained(inputs, states) > 0.999
    assert explained(inputs[:-1], states[1:]) < 0.99  # one step too far


def explained(inputs: Tensor, target: Tensor) -> float:
    """R^2 of the best linear map."""
    fitted = np.linalg.lstsq(inputs.numpy(), target.numpy(), rcond=1e-8)[0]
    missed = (inputs @ torch.from_numpy(fitted) - target).square().sum()
    return 1 - float(missed / (target - target.mean(dim=0)).square().sum())
