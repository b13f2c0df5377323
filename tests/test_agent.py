"""The agent: repeatable, keeps what was executed, and sees pixels as training does."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import agents
import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import FUSED_MISSING, fused_is_built
from learners import learner_of, replay
from torch import Tensor

from planet.agent import Agent
from planet.config import ModelConfig, TrainConfig
from planet.latent import LatentState
from planet.models import WorldModel
from planet.models.pixels import preprocess
from planet.noise import row_seeds
from planet.planning import Imagination
from planet.protocols import Chunk
from planet.training.loss import sequence_loss

SIZE, A = 8, 2
Observation = npt.NDArray[np.uint8]
MakeAgent = Callable[..., Agent]


def make_model() -> WorldModel:
    config = ModelConfig(
        state_size=3,
        belief_size=5,
        hidden_size=7,
        encoder_channels=(4, 6),
        encoder_kernel=3,
        decoder="mlp",
        decoder_hidden=(9,),
        reward_layers=1,
        reward_hidden=8,
    )
    model = WorldModel(config, A, SIZE)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


CAPTURE = False


@pytest.fixture(autouse=True, params=[False, True], ids=["eager", "captured"])
def capture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of this file runs with both forms of the control step."""
    monkeypatch.setitem(globals(), "CAPTURE", request.param)


def make_agent(stddev: float = 0.3, model: WorldModel | None = None, **how: Any) -> Agent:
    settings = {"horizon": 2, "candidates": 8, "iterations": 2, "topk": 3, "backend": "reference"}
    how = settings | {"exploration_stddev": stddev} | how
    return agents.make_agent(model or make_model(), CAPTURE, **how)


def frame(seed: int, *batch: int) -> Observation:
    return np.random.default_rng(seed).integers(0, 256, (*batch, SIZE, SIZE, 3), np.uint8)


def play(agent: Agent, steps: int = 4, explore: bool = False) -> list[list[float]]:
    return [agent.act(frame(t), explore).tolist() for t in range(steps)]


# ---- Repeatable --------------------------------------------------------------------------------


@pytest.mark.parametrize("explore", [False, True])
def test_same_seed_and_observations_give_the_same_actions(explore: bool) -> None:
    first, second, other = make_agent(), make_agent(), make_agent()
    first.reset(7)
    second.reset(7)
    other.reset(8)
    actions = play(first, explore=explore)
    torch.manual_seed(99)  # the global generator has no part in it
    assert play(second, explore=explore) == actions
    assert play(other, explore=explore) != actions
    first.reset(7)  # after an episode as well
    assert play(first, explore=explore) == actions


def test_other_observations_give_other_actions() -> None:
    agent = make_agent()
    agent.reset()
    first = agent.act(frame(0))
    agent.reset()
    assert not np.array_equal(agent.act(frame(1)), first)


def test_an_observation_is_a_table_or_its_image_alone() -> None:
    agent = make_agent()
    agent.reset(7)
    expected = play(agent)
    agent.reset(7)
    noted = {"image": frame(0), "position": np.zeros(3)}  # more than it knows
    assert np.array_equal(agent.act(noted), expected[0])


def test_steps_and_episodes_draw_their_own_noise() -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    assert agent.latent is not None
    first = agent.latent.state.clone()
    agent.reset(1)  # same start, same picture, another episode
    agent.act(frame(0))
    assert not torch.equal(agent.latent.state, first)


def test_all_63_bit_seeds_are_taken_and_others_refused() -> None:
    agent = make_agent()
    for seed in (0, -(2**63), 2**64 - 1):
        agent.reset(seed)
    with pytest.raises(ValueError, match="seed: expected a value in"):
        agent.reset(2**64)
    with pytest.raises(TypeError, match="seed: expected an int, got float"):
        agent.reset(1.0)  # type: ignore[arg-type]


# ---- The executed action -----------------------------------------------------------------------


def belief_after(agent: Agent, action: Tensor) -> Tensor:
    """The belief at the next step if `action` [B, A] is executed now."""
    from planet.ops.reference import next_belief

    assert agent.latent is not None
    with torch.no_grad():
        return next_belief(agent.world_model.rssm, agent.latent, action)


@pytest.mark.parametrize("stddev", [0.3, 100.0])
def test_act_keeps_the_action_after_noise_and_clipping(stddev: float) -> None:
    agent = make_agent(stddev)
    agent.reset()
    action = agent.act(frame(0), explore=True)
    if stddev == 100.0:
        assert set(np.abs(action)) == {1.0}
    expected = belief_after(agent, torch.from_numpy(action)[None])
    agent.act(frame(1))
    assert agent.latent is not None
    assert torch.equal(agent.latent.belief, expected)


def test_executed_overrides_the_action() -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    other = np.array([0.25, -0.75], np.float64)
    expected = belief_after(agent, torch.tensor([[0.25, -0.75]]))
    agent.executed(other)
    other[:] = 9  # a copy was kept
    agent.act(frame(1))
    assert agent.latent is not None
    assert torch.equal(agent.latent.belief, expected)


def test_executed_counts_for_one_step_only() -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    agent.executed([0.5, 0.5])
    action = agent.act(frame(1))
    expected = belief_after(agent, torch.from_numpy(action)[None])
    agent.act(frame(2))
    assert agent.latent is not None
    assert torch.equal(agent.latent.belief, expected)


def test_a_pickle_goes_on_as_the_agent_does() -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    twins = [pickle.loads(pickle.dumps(agent)), copy.deepcopy(agent)]
    expected = play(agent)
    assert [play(twin) for twin in twins] == [expected] * 2


def test_returned_action_is_a_copy() -> None:
    agents = [make_agent(), make_agent()]
    for agent in agents:
        agent.reset()
        action = agent.act(frame(0))
        if agent is agents[0]:
            action[:] = 9
    assert np.array_equal(agents[0].act(frame(1)), agents[1].act(frame(1)))


def test_first_observation_follows_the_zero_action_from_the_zero_latent() -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    expected = belief_after(agent, torch.zeros(2, A))
    agent.act(frame(0, 2))
    assert agent.latent is not None
    assert torch.equal(agent.latent.belief, expected)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.0], r"action: expected shape \[1, 2\], got \[1, 1\]"),
        ([[0.0, 0.0], [0.0, 0.0]], r"action: expected shape \[1, 2\], got \[2, 2\]"),
        (0.0, r"action: expected shape \[1, 2\], got \[\]"),
        ([np.nan, 0.0], "action: expected finite values"),
        ([np.inf, 0.0], "action: expected finite values"),
        (np.array([1e300, 0.0]), "action: expected finite values"),
        ([[0.0, 0.0], [0.0]], "action: expected rows of one length"),
        (torch.zeros(3, requires_grad=True), r"action: expected shape \[1, 2\], got \[1, 3\]"),
    ],
)
def test_executed_refuses_other_shapes_and_values(action: Any, message: str) -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0))
    with pytest.raises(ValueError, match=message):
        agent.executed(action)


def test_executed_of_a_batch_needs_one_action_per_row() -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2))
    agent.executed(np.zeros((2, A)))
    with pytest.raises(ValueError, match=r"action: expected shape \[2, 2\], got \[2\]"):
        agent.executed(np.zeros(A))


# ---- Batches and rows --------------------------------------------------------------------------


def test_shape_of_the_action_follows_the_observation() -> None:
    agent, picture = make_agent(), frame(0)
    agent.reset()
    picture.setflags(write=False)  # as arrays of images are
    single = agent.act(picture)
    assert single.shape == (A,)
    assert single.dtype == np.float32
    agent.reset()
    batched = agent.act(frame(0)[None])
    assert batched.shape == (1, A)
    assert np.array_equal(batched[0], single)
    agent.reset(row_seeds(0, 3))
    assert agent.batch_size == 3
    actions = agent.act(frame(0, 3))
    assert actions.shape == (3, A)
    assert actions.dtype == np.float32


def test_change_of_batch_size_needs_a_reset() -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2))
    for observation in (frame(0), frame(0, 1), frame(0, 3)):
        with pytest.raises(ValueError, match=r"expected batch size 2 .* got [13]; call reset\("):
            agent.act(observation)
    agent.act(frame(1, 2))  # still usable
    agent.reset(row_seeds(0, 3))
    agent.act(frame(0, 3))


def test_rows_of_a_batch_act_by_themselves() -> None:
    """Other pictures in the other rows change nothing, bit for bit."""
    first, second = make_agent(), make_agent()
    for agent in (first, second):
        agent.reset(row_seeds(5, 3))
    for t in range(3):
        pictures = frame(t, 3)
        others = frame(100 + t, 3)
        others[1] = pictures[1]
        left = first.act(pictures, explore=True)
        right = second.act(others, explore=True)
        assert np.array_equal(left[1], right[1])
        assert first.latent is not None
        assert second.latent is not None
        assert torch.equal(first.latent.state[1], second.latent.state[1])
        assert not torch.equal(first.latent.state[0], second.latent.state[0])


def test_row_zero_of_a_batch_is_the_batch_of_one() -> None:
    """Row 0 has the same seed whatever the batch size; results agree up to rounding."""
    batch, single = make_agent(), make_agent()
    batch.reset(row_seeds(5, 2))
    single.reset(5)
    for t in range(3):
        pictures = frame(t, 2)
        np.testing.assert_allclose(
            batch.act(pictures, True)[0], single.act(pictures[0], True), atol=1e-5
        )


def test_rows_draw_different_noise() -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    same = np.stack([frame(0), frame(0)])
    actions = agent.act(same)
    assert not np.array_equal(actions[0], actions[1])


def test_reset_of_rows_restarts_them_and_leaves_the_others_alone() -> None:
    agent, undisturbed = make_agent(), make_agent()
    for each in (agent, undisturbed):
        each.reset(row_seeds(5, 3))
        for t in range(2):
            each.act(frame(t, 3), explore=True)
    agent.reset(rows=[1])
    assert agent.latent is not None
    assert not agent.latent.belief[1].any()
    assert not agent.latent.state[1].any()
    expected = belief_after(agent, agent._action * torch.tensor([[1.0], [0.0], [1.0]]))
    left, right = agent.act(frame(2, 3), explore=True), undisturbed.act(frame(2, 3), explore=True)
    assert torch.equal(agent.latent.belief, expected)
    for row in (0, 2):  # bit for bit
        assert np.array_equal(left[row], right[row])
        assert undisturbed.latent is not None
        assert torch.equal(agent.latent.state[row], undisturbed.latent.state[row])
    assert not np.array_equal(left[1], right[1])
    assert agent.batch_size == 3


def test_restarted_row_is_the_same_whatever_happened_before() -> None:
    """A row's seed alone decides its episode, not the length of the one before."""
    actions = []
    for steps in (1, 3):
        agent = make_agent()
        agent.reset(row_seeds(5, 2))
        for t in range(steps):
            agent.act(frame(t, 2))
        agent.reset(rows=[0])
        actions.append(agent.act(frame(50, 2))[0])
    assert np.array_equal(actions[0], actions[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [2]}, r"rows: expected values in \[0, 2\), got \[2"),
        ({"rows": [0, -1]}, r"rows: expected values in \[0, 2\), got \[-1"),
        ({"rows": [1, 1]}, r"rows: expected each row once, got \[1, 1\]"),
        ({"seeds": [5], "rows": [0, 1]}, "seeds: expected one for each of 2 rows, got 1"),
        ({"seeds": []}, "seeds: expected at least one, got none"),
        ({"seeds": [0, None]}, "seed: expected an int, got NoneType"),
    ],
)
def test_reset_refuses_rows_and_seeds_that_do_not_fit(
    arguments: dict[str, Any], message: str
) -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    with pytest.raises((TypeError, ValueError), match=message):
        agent.reset(**arguments)


def test_numpy_s_numbers_are_taken() -> None:
    plain, agent = make_agent(0.5), make_agent(np.float32(0.5))  # type: ignore[arg-type]
    plain.reset(row_seeds(3, 2))
    agent.reset(row_seeds(np.uint8(3), np.int64(2)))  # type: ignore[arg-type]
    for one in (plain, agent):
        one.act(frame(0, 2), explore=True)
        one.reset(rows=[1] if one is plain else np.flatnonzero([False, True]))  # type: ignore[arg-type]
    assert np.array_equal(plain.act(frame(1, 2), True), agent.act(frame(1, 2), True))
    with pytest.raises(TypeError, match="rows: expected an int, got bool"):
        agent.reset(rows=[False, True])
    with pytest.raises(TypeError, match="rows: expected a sequence of ints, got int"):
        agent.reset(rows=1)  # type: ignore[arg-type]


# ---- Errors ------------------------------------------------------------------------------------


def test_everything_needs_a_reset_first() -> None:
    agent = make_agent()
    assert agent.batch_size == 0
    calls = (
        lambda: agent.act(frame(0)),
        lambda: agent.executed(np.zeros(A)),
        lambda: agent.filter(frame(0)),
        lambda: agent.plan(),
        lambda: agent.reset(rows=[0]),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match=r"call reset\(\) before the first observation"):
            call()


@pytest.mark.parametrize(
    ("observation", "error", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), TypeError, "expected dtype uint8, got float32"),
        (np.zeros((8, 8, 3), np.int64), TypeError, "expected dtype uint8, got int64"),
        (np.zeros((16, 16, 3), np.uint8), ValueError, r"\[8, 8, 3\].*got \[16, 16, 3\]"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"got \[3, 8, 8\]"),
        (np.zeros((8, 8), np.uint8), ValueError, r"got \[8, 8\]"),
        (np.zeros((1, 1, 8, 8, 3), np.uint8), ValueError, r"got \[1, 1, 8, 8, 3\]"),
        (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "batch size 1 .* got 0"),
        (np.uint8(3), ValueError, r"got \[\]"),
        ({"pixels": np.zeros((8, 8, 3))}, ValueError, r"an array 'image', got \['pixels'\]"),
    ],
)
def test_other_observations_are_refused(
    observation: Any, error: type[Exception], message: str
) -> None:
    agent = make_agent()
    agent.reset()
    with pytest.raises(error, match=f"^observation: .*{message}"):
        agent.act(observation)
    agent.act(frame(0))  # still usable


@pytest.mark.parametrize("stddev", [-0.1, float("nan"), float("inf"), 1e39])
def test_exploration_that_is_negative_or_not_finite_is_refused(stddev: float) -> None:
    agent = make_agent()
    for refused in (make_agent, partial(setattr, agent, "exploration_stddev")):
        with pytest.raises(ValueError, match="exploration_stddev: expected a finite float32 value"):
            refused(stddev)
    assert agent.exploration_stddev == 0.3


# ---- What is not finite ------------------------------------------------------------------------


def spoil(agent: Agent, what: str) -> None:
    """Makes one number NaN or infinite, where nobody checks."""
    assert agent.latent is not None
    if what in ("belief", "state"):
        spoilt = getattr(agent.latent, what).clone()
        spoilt[1, 0] = float("nan")
        agent._latent = replace(agent.latent, **{what: spoilt})
    elif what == "parameter":
        with torch.no_grad():
            agent.world_model.encoder.layers[0].bias[0] = float("inf")
    elif what == "weights":  # finite, but their returns are not
        huge = [weight / weight.abs().max() * 3e38 for weight in agent.weights.reward_weights]
        agent._weights, agent._imagination = replace(agent.weights, reward_weights=huge), None


NOT_FINITE = {
    "belief": r"^latent: expected a finite belief, got NaN or infinite in rows \[1\]; reset\(\)",
    "state": r"^latent: expected a finite state, got NaN or infinite in rows \[1\]; reset\(\)",
    "parameter": r"^world_model: expected finite parameters, got NaN or infinite in encoder\.",
    "weights": r"^plan: expected finite returns and actions, got NaN or infinite in rows \[0, 1\]",
}


@pytest.mark.parametrize("what", NOT_FINITE)
@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_a_step_that_is_not_finite_is_an_error_and_not_an_action(what: str, backend: str) -> None:
    if backend == "fused" and not fused_is_built():
        pytest.skip(FUSED_MISSING)
    agent = make_agent(backend=backend)
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2))
    spoil(agent, what)
    latent, planned, steps = agent.latent, agent.planned, list(agent._steps)
    calls = {
        "act": lambda: agent.act(frame(1, 2)), "explore": lambda: agent.act(frame(1, 2), True),
        "filter": lambda: agent.filter(frame(1, 2)), "plan": agent.plan,
    }  # fmt: skip
    silent = {"weights": "filter", "parameter": "plan"}.get(what)  # have no part in it
    for name, call in calls.items():
        if name != silent:
            with pytest.raises(ValueError, match=NOT_FINITE[what]):
                call()
            assert agent.latent is latent
            assert agent.planned is planned
            assert agent._steps == steps


def test_a_row_that_is_not_finite_can_be_restarted() -> None:
    agent = make_agent()
    agent.reset(row_seeds(0, 2))
    agent.act(frame(0, 2))
    spoil(agent, "belief")
    with pytest.raises(ValueError, match="latent"):
        agent.act(frame(1, 2))
    agent.reset(rows=[1])
    assert np.isfinite(agent.act(frame(1, 2))).all()


def test_an_assigned_latent_is_checked() -> None:
    agent = make_agent()
    good = agent.world_model.initial(2)
    with pytest.raises(RuntimeError, match="call reset"):
        agent.latent = good
    agent.reset(row_seeds(0, 2))
    agent.latent = good
    for bad, message in (
        (None, "latent: expected LatentState, got NoneType"),
        (LatentState(good.belief[:1], good.state), r"latent.belief: expected shape \[2, 5\]"),
        (LatentState(good.belief.double(), good.state), "latent.belief: expected torch.float32"),
        (LatentState(good.belief, good.state + float("inf")), "latent: expected a finite state"),
        (LatentState(good.belief[:, None], good.state[:, None]),
         r"latent.belief: expected shape \[B, D\], got \[2, 1, 5\]"),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=message):
            agent.latent = bad  # type: ignore[assignment]
        assert agent.latent is good


# ---- The box of actions ------------------------------------------------------------------------


@pytest.mark.parametrize("tensors", [False, True])
def test_noise_on_actions_is_in_half_widths_of_the_box(tensors: bool) -> None:
    """A box of four times the width, elsewhere: the same draws, four times as far."""
    model, noises = make_model(), []
    for low, high in ((-1.0, 1.0), (6.0, 14.0)):
        bounds = (
            {"low": [low, -1.0], "high": torch.tensor([[high, 1.0]] * 50)}
            if tensors else {"low": low, "high": high}
        )  # fmt: skip
        agent = make_agent(0.01, model, iterations=1, candidates=3, initial_stddev=0.1, **bounds)
        actions = []
        for explore in (False, True):
            agent.reset(row_seeds(3, 50))
            actions.append(agent.act(frame(0, 50), explore))
        noises.append(actions[1] - actions[0])
    wide = [4.0, 1.0] if tensors else [4.0, 4.0]
    assert np.abs(noises[1] - noises[0] * wide).max() < 1e-5
    assert np.abs(noises[0]).max() > 0.01


@pytest.mark.parametrize("explore", [False, True])
def test_a_masked_action_stays_where_it_is(explore: bool) -> None:
    agent = make_agent(5.0, low=[0.1, -3.0], high=[0.1, 3.0])
    agent.reset(row_seeds(0, 3))
    actions = agent.act(frame(0, 3), explore)
    assert (actions[:, 0] == np.float32(0.1)).all()
    assert len(set(actions[:, 1])) > 1


def test_pictures_with_other_strides_are_taken() -> None:
    flipped = frame(0)[:, ::-1]  # a view that torch cannot wrap
    actions = []
    for observation in (flipped, flipped.copy()):
        agent = make_agent()
        agent.reset()
        actions.append(agent.act(observation).tolist())
    assert actions[0] == actions[1]


# ---- Exploration -------------------------------------------------------------------------------


def test_exploration_noise_has_its_stddev_and_no_bias() -> None:
    rows = 4000
    agent = make_agent(
        0.3e-3, candidates=2, topk=1, iterations=1, low=-1e3, high=1e3, initial_stddev=1e-3
    )  # in units of half the width of the box, so that nothing is clipped
    pictures = np.broadcast_to(frame(0), (rows, SIZE, SIZE, 3))
    actions = {}
    for explore in (False, True):
        agent.reset(row_seeds(3, rows))
        actions[explore] = agent.act(pictures, explore)
    noise = actions[True] - actions[False]
    assert abs(noise.std() - 0.3) < 0.01
    assert abs(noise.mean()) < 0.015
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05  # one normal per dimension


@pytest.mark.parametrize("explore", [False, True])
def test_actions_stay_within_the_planners_bounds(explore: bool) -> None:
    low, high = torch.tensor([-0.5, 0.1]), torch.tensor([-0.25, 0.2])
    agent = make_agent(5.0, low=low, high=high)
    agent.reset(row_seeds(0, 50))
    for t in range(2):
        actions = agent.act(frame(t, 50), explore)
        assert (actions >= low.numpy()).all()
        assert (actions <= high.numpy()).all()


def test_no_exploration_without_asking() -> None:
    actions = []
    for stddev in (0.0, 9.0):
        agent = make_agent(stddev)
        agent.reset()
        actions.append(play(agent))
    assert actions[0] == actions[1]


def test_zero_stddev_explores_nothing() -> None:
    agent = make_agent(0.0)
    agent.reset()
    plain = play(agent)
    agent.reset()
    assert play(agent, explore=True) == plain


# ---- Weights -----------------------------------------------------------------------------------


def test_agent_plans_with_new_weights_only_after_a_snapshot() -> None:
    """The reward head is changed, which the filter does not read."""
    model = make_model()
    agent = make_agent(model=model)

    def first_action() -> list[float]:
        agent.reset()
        return agent.act(frame(0)).tolist()

    before = first_action()
    with torch.no_grad():
        for weight in (*model.reward_model.weights, *model.reward_model.biases):
            weight.mul_(-3.0)
    assert first_action() == before
    agent.update_weights()
    assert first_action() != before


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_agent_plans_with_the_weights_of_the_newest_training_phase(backend: str) -> None:
    """Two phases of gradient steps; after each snapshot the plan is that of the new parameters."""
    if backend == "fused" and not fused_is_built():
        pytest.skip(FUSED_MISSING)
    model = make_model()
    agent = make_agent(model=model, backend=backend)
    learner = learner_of(model, TrainConfig(learning_rate=0.05))
    chunk = Chunk(
        {"image": torch.from_numpy(frame(1, 4, 2))}, torch.zeros(4, 2, A), torch.ones(4, 2)
    )
    agent.reset()
    agent.filter(frame(0))
    latent, seeds = agent.latent, agent._step_seeds()
    assert latent is not None
    means = [agent.plan().mean]
    for _ in range(2):
        learner.update(replay(chunk))
        assert torch.equal(agent.plan().mean, means[-1])  # still the old snapshot
        agent.update_weights()
        means.append(agent.plan().mean)
        now = Imagination(model.rollout_weights(), latent, backend=agent.imagination.backend)
        fresh = agent.planner.plan(now, seeds)
        assert torch.equal(means[-1], fresh.mean)
    assert not torch.equal(means[0], means[1])
    assert not torch.equal(means[1], means[2])


@pytest.mark.parametrize("error", [ValueError("no kernel"), KeyboardInterrupt()])
def test_error_while_planning_leaves_the_agent_as_it_was(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, agent = make_agent(), make_agent()
    undisturbed.reset(7)
    expected = play(undisturbed, explore=True)

    def fail(*arguments: Any, **settings: Any) -> None:
        raise error

    agent.reset(7)
    agent.act(frame(0), explore=True)
    latent, planned = agent.latent, agent.planned
    with monkeypatch.context() as patch:
        patch.setattr("planet.planning.CEMPlanner.plan", fail)
        with pytest.raises(type(error)):
            agent.act(frame(1), explore=True)
    assert agent.latent is latent
    assert agent.planned is planned
    assert [agent.act(frame(t), explore=True).tolist() for t in range(1, 4)] == expected[1:]


def test_agent_says_how_many_iterations_it_planned() -> None:
    agent = make_agent(iterations=3)
    assert agent.planned is None
    agent.reset()
    agent.act(frame(0))
    assert agent.planned is not None
    assert agent.planned.iterations == 3
    hurried = make_agent(iterations=3, budget_ms=1e-6)
    hurried.reset()
    hurried.act(frame(0))
    assert hurried.planned is not None
    assert hurried.planned.iterations == 1
    plan = hurried.plan()
    assert hurried.planned is plan


def test_acting_leaves_no_gradients() -> None:
    agent = make_agent()
    agent.reset()
    agent.act(frame(0), explore=True)
    assert agent.latent is not None
    assert not agent.latent.belief.requires_grad
    assert not agent.latent.state.requires_grad
    assert all(parameter.grad is None for parameter in agent.world_model.parameters())


def test_filter_and_plan_are_the_halves_of_act() -> None:
    whole, halves = make_agent(), make_agent()
    for agent in (whole, halves):
        agent.reset(row_seeds(4, 2))
    action = whole.act(frame(0, 2))
    latent = halves.filter(frame(0, 2))
    assert halves.latent is latent
    assert whole.latent is not None
    assert torch.equal(latent.belief, whole.latent.belief)
    assert torch.equal(latent.state, whole.latent.state)
    assert np.array_equal(halves.plan().action.numpy(), action)


# ---- Acting sees what training sees ------------------------------------------------------------


def test_acting_and_training_filter_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """An acted episode, replayed as a chunk with its dither and noise, gives the same latents.

    The dither is drawn per time step by the agent and at once by the loss; both are given to the
    same function, and what the encoder makes of the pictures is compared as well.
    """
    model = make_model()
    agent = make_agent(model=model)
    steps = 4
    pictures = [frame(t) for t in range(steps)]
    seen: dict[str, list[Tensor]] = {"dither": [], "noise": [], "embedding": [], "belief": []}

    def images(observation: Tensor, dither: Tensor) -> Tensor:
        seen["dither"].append(dither)
        return preprocess(observation, 5, dither)

    filter_step, embed = model.rssm.filter, model.embed

    def keep_noise(latent: Any, action: Tensor, embedding: Tensor, noise: Tensor) -> Any:
        seen["noise"].append(noise)
        after = filter_step(latent, action, embedding, noise)
        seen["belief"].append(after.belief)
        return after

    def keep_embedding(image: Tensor) -> Tensor:
        embedding = embed(image)
        seen["embedding"].append(embedding.detach())
        return embedding

    monkeypatch.setattr(model, "images", images)
    monkeypatch.setattr(model, "embed", keep_embedding)
    monkeypatch.setattr(model.rssm, "filter", keep_noise)
    agent.reset(3)
    actions = [np.zeros(A, np.float32)]
    actions += [agent.act(picture, explore=True) for picture in pictures]
    chunk = Chunk(
        {"image": torch.from_numpy(np.stack(pictures))[:, None]},
        torch.from_numpy(np.stack(actions[:-1]))[:, None],
        torch.zeros(steps, 1),
    )
    dither, noise = torch.stack(seen["dither"]), torch.stack(seen["noise"])
    acted = torch.stack(seen["embedding"])
    monkeypatch.setattr(torch, "rand", lambda *shape, **kwargs: dither.reshape(shape))
    monkeypatch.setattr(torch, "randn", lambda *shape, **kwargs: noise.reshape(shape))
    seen["embedding"].clear()
    filtered: list[Any] = []
    filter_chunk = model.rssm.filter_chunk

    def keep_filtered(*arguments: Tensor) -> Any:
        filtered.append(filter_chunk(*arguments))
        return filtered[0]

    monkeypatch.setattr(model.rssm, "filter_chunk", keep_filtered)
    sequence_loss(model, chunk, TrainConfig(), torch.Generator())
    torch.testing.assert_close(seen["embedding"][0], acted)
    torch.testing.assert_close(filtered[0].latent.belief, torch.stack(seen["belief"]))
    assert agent.latent is not None
    torch.testing.assert_close(filtered[0].latent.state[-1], agent.latent.state)


def test_dither_is_uniform_and_new_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent()
    seen: list[Tensor] = []

    def images(observation: Tensor, dither: Tensor) -> Tensor:
        seen.append(dither)
        return preprocess(observation, 5, dither)

    monkeypatch.setattr(agent.world_model, "images", images)
    agent.reset(row_seeds(0, 16))
    for _ in range(2):
        agent.act(frame(0, 16))
    assert seen[0].shape == (16, SIZE, SIZE, 3)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0][0], seen[0][1])
    both = torch.stack(seen)
    assert both.min() >= 0
    assert both.max() <= 1
    assert abs(both.mean() - 0.5) < 0.02
    assert abs(both.std() - 12**-0.5) < 0.02
