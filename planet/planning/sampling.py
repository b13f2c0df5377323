"""The loop of sampling planners: draw action sequences, score them, refit the distribution."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from planet.config import ICEMConfig, choices
from planet.config.planner import check_colour, check_decay
from planet.errors.checks import check_choice, check_device, check_shape, check_type
from planet.errors.scalars import check_float, check_int, check_not_negative
from planet.noise import Noise, resolve_seeds
from planet.ops.checks import (
    MAX_CANDIDATES,
    MAX_HORIZON,
    MAX_ITERATIONS,
    CEMSettings,
    check_budget,
    check_fit,
    check_keep,
    check_momentum,
    check_temperature,
)
from planet.ops.loop import cem_loop
from planet.planning.box import Box
from planet.planning.colour import colour_mix
from planet.planning.imagination import Imagination
from planet.protocols import Plan, Scorer

_CHOICES = {name: choices(ICEMConfig, name) for name in ("numerics", "output", "shift")}
_PASSED = ("topk", "iterations", "spread", "epsilon", "keep", "momentum", "temperature", "output")


@dataclass(frozen=True)
class SearchSettings:
    """Holds the settings of the loop; the defaults are the plain cross-entropy method's.

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences of the first iteration.
      iterations: I.
      topk: K, elites.
      initial_stddev: of the first iteration's actions, in units of half the width of the box.
      spread, epsilon: see `planet.ops.reference.refit`.
      colour: exponent of the normals' power spectrum along time, 1/f^colour; 0: white.
      numerics: of their variance; see `planet.planning.colour.colour_mix`.
      decay: iteration i draws floor(J * decay**-i) candidates, 2 K or more.
      keep: E, the best sequences of an iteration that are candidates of the next one, too.
      momentum: share of the mean and stddev before that a refit leaves.
      temperature: of the elites' weights softmax((return - best) / temperature), in environment
        reward units; None: equal weights.
      output: the action: "mean", of the last distribution, or "best", of the last candidates.
      shift: what follows a plan that is shifted to start the next one: "repeat": its last mean;
        "middle": the middle of the box; "none": it starts none.

    Raises:
      TypeError, ValueError: a setting has a wrong type or is out of range; the message names it.
    """

    horizon: int = 12
    candidates: int = 1000
    iterations: int = 10
    topk: int = 100
    initial_stddev: float = 1.0
    spread: str = "population"
    epsilon: float = 1e-6
    colour: float = 0.0
    numerics: str = "unit"
    decay: float = 1.0
    keep: int = 0
    momentum: float = 0.0
    temperature: float | None = None
    output: str = "mean"
    shift: str = "none"

    def __post_init__(self) -> None:
        candidates = check_int("candidates", self.candidates, 1, MAX_CANDIDATES)
        topk, epsilon = check_fit(self.topk, candidates, self.spread, self.epsilon)
        checked = {
            "horizon": check_int("horizon", self.horizon, 1, MAX_HORIZON),
            "candidates": candidates,
            "iterations": check_int("iterations", self.iterations, 1, MAX_ITERATIONS),
            "topk": topk,
            "initial_stddev": check_not_negative("initial_stddev", self.initial_stddev),
            "epsilon": epsilon,
            "colour": check_not_negative("colour", self.colour),
            "decay": check_float("decay", self.decay),
            "keep": check_keep(self.keep, topk),
            "momentum": check_momentum(self.momentum),
            "temperature": check_temperature(self.temperature, self.spread),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen
        for name, known in _CHOICES.items():
            check_choice(name, getattr(self, name), known)
        check_colour(self.horizon, self.colour, self.numerics)
        check_decay(candidates, self.iterations, topk, self.decay)

    @property
    def counts(self) -> tuple[int, ...]:
        """Counts the candidates that each iteration draws: J_i."""
        return tuple(int(self.candidates * self.decay**-i) for i in range(self.iterations))

    @property
    def rollouts(self) -> int:
        """Counts the sequences that a plan scores: the sum of J_i + E."""
        return sum(self.counts) + self.iterations * self.keep

    @property
    def plain(self) -> bool:
        """Whether the loop is the plain cross-entropy method's, which every kernel serves."""
        names = "colour", "decay", "keep", "momentum", "temperature", "output"
        return all(getattr(self, name) == getattr(SearchSettings, name) for name in names)

    def mix(self, device: torch.device) -> Tensor | None:
        """Returns the matrix [H, H] that colours normals along time; None: they stay white."""
        if not self.colour:
            return None
        return colour_mix(self.horizon, self.colour, self.numerics, device)


@dataclass(frozen=True)
class SamplingPlanner:
    """Plans by one search from the first distribution, or from a plan that was shifted to now.

    A planner is a frozen dataclass of this kind whose fields are settings of the loop by their
    names; what it has no field for stays as in the plain cross-entropy method.

    Attributes:
      horizon: H, model steps.
    """

    horizon: int = 12

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        settings = SearchSettings(**{name: getattr(self, name) for name in names})
        checked = {name: getattr(settings, name) for name in names}
        for name, value in {**checked, "_settings": settings}.items():
            object.__setattr__(self, name, value)  # frozen

    @property
    def settings(self) -> SearchSettings:
        """The settings of the loop."""
        made: SearchSettings = vars(self)["_settings"]
        return made

    @property
    def rollouts(self) -> int:
        """Counts the sequences that a plan scores, per problem."""
        return self.settings.rollouts

    def plan(
        self,
        imagination: Scorer,
        seed: int | Tensor = 0,
        *,
        warm: Plan | None = None,
        budget_ms: float | None = None,
    ) -> Plan:
        """Plans one action sequence per problem.

        Args:
          imagination: a model and where its rollouts start, or another scorer.
          seed: int (numpy's too), or int64 tensor [B]; the same seed gives the same plan.
          warm: an earlier plan, shifted to now by `planet.planning.shift`: the mean to start from,
            and the first kept sequences. None: the middle of the box, and none.
          budget_ms: milliseconds that the plan may take, at least one iteration; None: all I.

        Returns:
          Plan; `plan.action` [B, A] is the action to execute, `plan.iterations` how many
          iterations were run: fewer than I only with a budget.

        Raises:
          TypeError, ValueError: see `planet.ops.reference.cem_plan`; or `warm` has other shapes.
        """
        return search(self.settings, imagination, seed, warm, budget_ms)


def search(
    settings: SearchSettings,
    scorer: Scorer,
    seed: int | Tensor,
    warm: Plan | None,
    budget_ms: float | None,
) -> Plan:
    """Searches with a scorer of any kind; an `Imagination` is searched by the compiled op.

    Arguments are those of `SamplingPlanner.plan`, after the settings.

    Raises:
      TypeError, ValueError: see `planet.ops.reference.cem_plan`.
    """
    model = scorer if isinstance(scorer, Imagination) else None
    box = box_of(scorer)
    batch, device = scorer.batch_size, box.low.device
    mean, stddev = box.distribution(
        (settings.horizon, batch, box.low.shape[-1]), settings.initial_stddev
    )
    kept = None
    if warm is not None:
        mean, kept = _start(warm, mean, settings.keep)
    mix = settings.mix(device)
    loop = {name: getattr(settings, name) for name in _PASSED}
    if model is not None:
        return model.search(
            mean, stddev,
            seed=seed, candidates=settings.counts, budget_ms=budget_ms, mix=mix, kept=kept,
            **loop,
        )  # fmt: skip
    given = CEMSettings(
        settings.counts, first_iteration=0, state_noise=True, discount=1.0, precision="fp32",
        budget_ms=check_budget(budget_ms, device), variant="portable", **loop,
    )  # fmt: skip
    seeds = resolve_seeds(seed, batch, device)
    bounds = box.low.expand(batch, -1), box.high.expand(batch, -1)

    def score(actions: Tensor, noise: Noise) -> Tensor:
        returns = scorer.returns(actions, noise)
        check_shape("imagination.returns", returns, (batch, actions.shape[2]), "[B, J]")
        return returns

    return cem_loop(score, mean, stddev, *bounds, seeds, given, mix, kept)


def box_of(scorer: Scorer) -> Box:
    """Returns the box of a scorer's actions.

    Raises:
      TypeError, ValueError: it is no scorer, or its bounds are none.
    """
    if isinstance(scorer, Imagination):
        return scorer.box
    if not hasattr(scorer, "returns"):
        got = type(scorer).__name__
        raise TypeError(f"imagination: expected planet.Imagination or another scorer, got {got}")
    low, high = scorer.low, scorer.high
    return Box.of(low, high, scorer.batch_size, low.shape[-1], low.device)


def _start(warm: Plan, first: Tensor, keep: int) -> tuple[Tensor, Tensor | None]:
    """Checks a shifted plan; returns its mean and its kept sequences."""
    check_type("warm", warm, Plan)
    horizon, batch, size = first.shape
    check_shape("warm.mean", warm.mean, (horizon, batch, size), "[H, B, A]")
    check_shape("warm.kept", warm.kept, (horizon, batch, keep, size), "[H, B, E, A]")
    for name, value in (("warm.mean", warm.mean), ("warm.kept", warm.kept)):
        check_device(name, value, first.device)
    return warm.mean, warm.kept if keep else None
