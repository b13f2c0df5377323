"""One gradient step: optimiser settings, repeatability, and what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from learners import learner_of, replay
from ops.fused_support import needs_extension
from small_models import make_chunk, make_model
from torch import Tensor

from planet.config import TrainConfig
from planet.models import WorldModel
from planet.models.compiled import CompiledModel
from planet.protocols import Chunk, NonFiniteError
from planet.storage.checkpoint import load_checkpoint, save_checkpoint
from planet.training.learner import GradientLearner
from planet.training.loss import sequence_loss

CONFIG = TrainConfig(free_nats=0.0)


def snapshot(learner: GradientLearner) -> list[torch.Tensor]:
    """Parameters and the optimiser's moments, copied."""
    tensors = [p.detach() for p in learner.model.parameters()]
    for state in learner.optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return [tensor.clone() for tensor in tensors]


def equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def test_update_learns_and_reports() -> None:
    learner = learner_of(make_model(scale=0.1), replace(CONFIG, learning_rate=1e-2))
    values = [learner.update(replay(make_chunk())) for _ in range(30)]
    assert learner.updates == 30
    assert values[-1]["total"] < 0.9 * values[0]["total"]
    assert set(values[0]) == {
        "total", "image", "reward", "divergence", "kl", "global_prior", "overshooting",
        "overshooting_reward", "gradient_norm", "learning_rate",
    }  # fmt: skip


def test_a_parameter_that_the_loss_leaves_out_is_named() -> None:
    learner = learner_of(make_model(), CONFIG)
    learner.model.get_parameter("decoders.image.layers.0.weight").requires_grad_(False)
    expected = (
        "loss: expected a gradient of every parameter, got none of decoders.image.layers.0.weight"
    )
    with pytest.raises(ValueError, match=f"^{expected}$"):
        learner.update(replay(make_chunk()))


def test_same_seed_and_batches_give_the_same_parameters() -> None:
    results = []
    for seed in (0, 0, 1):
        learner = learner_of(make_model(), replace(CONFIG, seed=seed))
        for index in range(3):
            learner.update(replay(make_chunk(seed=index)))
        results.append(snapshot(learner))
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])


def test_rows_draw_from_seeds_of_run_and_update(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def loss(model: WorldModel, chunk: Chunk, config: TrainConfig, seeds: Tensor) -> Any:
        assert seeds.dtype == torch.int64
        seen.append(seeds.tolist())
        return sequence_loss(model, chunk, config, seeds)

    monkeypatch.setattr("learners.sequence_loss", loss)
    for seed in (0, 0, 1):
        learner = learner_of(make_model(), replace(CONFIG, seed=seed))
        for index in range(2):
            learner.update(replay(make_chunk(batch=3, seed=index)))
    assert seen[:2] == seen[2:4]
    assert len({row for rows in seen[2:] for row in rows}) == 4 * 3


def test_restored_learner_goes_on_to_the_same_parameters(tmp_path: Path) -> None:
    over = {"overshooting_distance": 2, "overshooting_observation_weight": 0.5}
    config = replace(CONFIG, learning_rate_warmup=5, **over)
    whole = learner_of(make_model(), config)
    for index in range(6):
        if index == 2:
            save_checkpoint(tmp_path / "checkpoint.pt", whole.state_dict())
        whole.update(replay(make_chunk(seed=index)))
    resumed = learner_of(make_model(scale=0.3), config)
    resumed.load_state_dict(load_checkpoint(tmp_path / "checkpoint.pt"))
    assert resumed.updates == 2
    for index in range(2, 6):
        resumed.update(replay(make_chunk(seed=index)))
    assert equal(snapshot(whole), snapshot(resumed))


@pytest.mark.parametrize(
    ("warmup", "expected"), [(0, [1.0] * 6), (1, [1.0] * 6), (4, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0])]
)
def test_learning_rate_rises_linearly(warmup: int, expected: list[float]) -> None:
    config = replace(CONFIG, learning_rate=2e-3, learning_rate_warmup=warmup)
    learner = learner_of(make_model(), config)
    rates = []
    for _ in expected:
        reported = learner.update(replay(make_chunk()))["learning_rate"].item()
        assert reported == learner.optimizer.param_groups[0]["lr"]
        rates.append(reported)
    assert rates == pytest.approx([2e-3 * share for share in expected])


def test_first_adam_step_moves_by_rate_over_one_plus_epsilon() -> None:
    """Adam's first step is rate * g / (|g| + epsilon), in PyTorch's form of epsilon."""
    config = replace(CONFIG, learning_rate=1e-3, adam_epsilon=0.5, gradient_clip_norm=1e9)
    learner = learner_of(make_model(), config)
    before = [p.detach().clone() for p in learner.model.parameters()]
    learner.update(replay(make_chunk()))
    for old, parameter in zip(before, learner.model.parameters(), strict=True):
        assert parameter.grad is not None
        step = 1e-3 * parameter.grad / (parameter.grad.abs() + 0.5)
        torch.testing.assert_close(parameter.detach(), old - step, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limit", [1e9, 0.01])
def test_gradient_is_clipped_to_the_global_norm(tmp_path: Path, limit: float) -> None:
    learner = learner_of(make_model(), replace(CONFIG, gradient_clip_norm=limit))
    values = learner.update(replay(make_chunk()))
    gradients = [p.grad for p in learner.model.parameters() if p.grad is not None]
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt().item()
    assert values["gradient_norm"] > 1.0  # as it was before clipping
    assert norm == pytest.approx(min(limit, values["gradient_norm"].item()), rel=1e-4)


def test_checkpoints_hold_what_any_adam_holds() -> None:
    """Whether its kernel is fused or not: each goes on from the other's, and names no kernel."""
    learner = learner_of(make_model(), CONFIG)
    plain = torch.optim.Adam(learner.model.parameters(), fused=False)
    learner.update(replay(make_chunk()))
    plain.step()
    states = [optimizer.state_dict()["state"] for optimizer in (learner.optimizer, plain)]
    layouts = [
        {(i, name): (t.dtype, t.shape, t.device) for i, s in state.items() for name, t in s.items()}
        for state in states
    ]
    assert layouts[0] == layouts[1]
    other = {**learner.state_dict(), "optimizer": {"state": states[1]}}
    learner.load_state_dict(other)
    assert learner.optimizer.param_groups[0]["fused"] is True
    learner.update(replay(make_chunk()))


def test_a_gradient_below_the_limit_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    clips: list[float] = []
    clip = torch.nn.utils.clip_grads_with_norm_
    monkeypatch.setattr(
        "torch.nn.utils.clip_grads_with_norm_",
        lambda parameters, limit, norm: clips.append(limit) or clip(parameters, limit, norm),
    )
    for limit in (1e9, 0.01):
        learner_of(make_model(), replace(CONFIG, gradient_clip_norm=limit)).update(
            replay(make_chunk())
        )
    assert clips == [0.01]


Poison = Callable[[GradientLearner, Chunk], None]


def spoiled(name: str, index: tuple[int, ...], value: str = "nan") -> Poison:
    def poison(learner: GradientLearner, chunk: Chunk) -> None:
        getattr(chunk, name)[index] = float(value)

    return poison


def nan_parameter(name: str) -> Poison:
    def poison(learner: GradientLearner, chunk: Chunk) -> None:
        with torch.no_grad():
            learner.model.get_parameter(name).view(-1)[0] = float("nan")

    return poison


def nan_gradient(learner: GradientLearner, chunk: Chunk) -> None:
    parameter = learner.model.get_parameter("latent_model.gru.weight_hh")
    parameter.register_hook(lambda gradient: gradient * float("nan"))


POISONS = {
    "reward of NaN": (spoiled("reward", (1, 2)), "reward"),
    "infinite reward": (spoiled("reward", (0, 0), "inf"), "reward"),
    # The last action reaches all terms at its index.
    "action of NaN": (spoiled("action", (3, 1, 0)), "image, reward, divergence, kl, global_prior"),
    "parameter of the decoder": (nan_parameter("decoders.image.layers.0.weight"), "image"),
    "parameter of the reward head": (nan_parameter("reward_model.layers.0.bias"), "reward"),
    "parameter of the prior": (nan_parameter("latent_model.prior_head.bias"), "divergence, kl"),
    "gradient": (nan_gradient, "gradient of latent_model.gru.weight_hh"),
}


@pytest.fixture(params=["looks at once", "masks"])
def looks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as on the CPU, or as on devices that are not waited for."""
    if request.param == "masks":
        monkeypatch.setattr("planet.training.learner.looks_at_once", lambda device: False)


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_extension)])
@pytest.mark.parametrize("case", POISONS)
def test_what_is_not_finite_is_named_and_changes_nothing(case: str, compiled: bool) -> None:
    """Neither does any update after it, until somebody looks."""
    poison, term = POISONS[case]
    model = make_model()
    learner = learner_of(model, CONFIG, CompiledModel(model) if compiled else None)
    learner.update(replay(make_chunk(seed=1)))
    chunk = make_chunk(seed=2)
    poison(learner, chunk)
    before = snapshot(learner)
    for each in (chunk, make_chunk(seed=3), make_chunk(seed=4)):
        learner.update(replay(each))
    assert learner.updates == 4
    with pytest.raises(
        NonFiniteError, match=f"^{term} is not finite; .* before update 1$"
    ) as error:
        learner.state_dict()
    assert (error.value.term, error.value.update, learner.updates) == (term, 1, 1)
    for old, new in zip(before, snapshot(learner), strict=True):
        torch.testing.assert_close(old, new, rtol=0, atol=0, equal_nan=True)
    batch = error.value.batch
    assert torch.equal(batch.observation["image"], chunk.observation["image"])
    assert torch.equal(batch.terminated, chunk.terminated)
    torch.testing.assert_close(batch.action, chunk.action, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(batch.reward, chunk.reward, rtol=0, atol=0, equal_nan=True)


@pytest.mark.usefixtures("looks")
@pytest.mark.parametrize("good", [0, 2])
def test_learner_goes_on_after_a_bad_batch(good: int) -> None:
    """The caller may catch the error: a bad batch leaves no trace in later steps."""
    learners = [learner_of(make_model(), CONFIG) for _ in range(2)]
    bad = make_chunk(seed=9)
    bad.reward[0, 0] = float("nan")
    for learner in learners:
        for index in range(good):
            learner.update(replay(make_chunk(seed=index)))
    for chunk in (bad, make_chunk(seed=8)):
        learners[0].update(replay(chunk))
    with pytest.raises(NonFiniteError):
        learners[0].state_dict()
    for learner in learners:
        learner.update(replay(make_chunk(seed=5)))
        assert learner.state_dict()["updates"] == good + 1
    assert equal(snapshot(learners[0]), snapshot(learners[1]))


def test_masked_steps_are_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = []
    for at_once in (True, False):
        monkeypatch.setattr(
            "planet.training.learner.looks_at_once", lambda device, at_once=at_once: at_once
        )
        learner = learner_of(make_model(), CONFIG)
        for index in range(3):
            learner.update(replay(make_chunk(seed=index)))
        snapshots.append(snapshot(learner))
    assert equal(*snapshots)


def test_an_update_looks_at_nothing_on_its_device() -> None:
    """On "meta" there is nothing to look at; on CUDA the host would wait for the device."""
    learner = learner_of(make_model().to("meta"), CONFIG)
    for _ in range(2):
        metrics = learner.update(replay(make_chunk()))
    assert {name for name, value in metrics.items() if value.device.type != "meta"} == {
        "learning_rate"
    }
    with pytest.raises(RuntimeError, match="meta"):
        learner.state_dict()
