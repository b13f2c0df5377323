"""The gradient planner, in PyTorch."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from planet.errors.scalars import check_int, check_not_negative, check_positive
from planet.noise import Noise, resolve_seeds
from planet.ops.checks import MAX_CANDIDATES, MAX_HORIZON, MAX_ITERATIONS, check_budget
from planet.ops.loop import actions_around, draw_normals, fit
from planet.planning.imagination import Imagination
from planet.planning.sampling import box_of
from planet.protocols import Plan

_DECAYS = 0.9, 0.999  # of Adam's averages, as published
_EPSILON = 1e-8


@dataclass(frozen=True)
class GradientPlanner:
    """Plans by gradient ascent on action sequences through the model, from several starts.

    Adam (Kingma and Ba, ICLR 2015) climbs the returns of candidates that are drawn as the first
    ones of the cross-entropy method; after every step they are clipped to the box. Step i sees the
    state noise of iteration i. The plan is the best candidate at the end, under new noise.

    Attributes:
      horizon: H, model steps.
      candidates: J, action sequences that climb.
      iterations: I, steps of Adam.
      learning_rate: of the first step, in units of half the width of the box; it falls to 0 in a
        straight line.
      initial_stddev: of the first actions, likewise.

    Raises:
      TypeError, ValueError: a number has a wrong type or is out of range.
    """

    horizon: int = 12
    candidates: int = 16
    iterations: int = 60
    learning_rate: float = 0.2
    initial_stddev: float = 1.0

    def __post_init__(self) -> None:
        checked = {
            "horizon": check_int("horizon", self.horizon, 1, MAX_HORIZON),
            "candidates": check_int("candidates", self.candidates, 1, MAX_CANDIDATES),
            "iterations": check_int("iterations", self.iterations, 1, MAX_ITERATIONS - 1),
            "learning_rate": check_positive("learning_rate", self.learning_rate),
            "initial_stddev": check_not_negative("initial_stddev", self.initial_stddev),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen

    @property
    def rollouts(self) -> int:
        """Counts the sequences that a plan scores, per problem; all but the last J also climb."""
        return self.candidates * (self.iterations + 1)

    def plan(
        self,
        imagination: Imagination,
        seed: int | Tensor = 0,
        *,
        warm: Plan | None = None,
        budget_ms: float | None = None,
    ) -> Plan:
        """Plans one action sequence per problem.

        Args:
          imagination: a model and where its rollouts start, in float32; or another scorer that has
            `differentiable_returns`.
          seed: int (numpy's too), or int64 tensor [B]; the same seed gives the same plan.
          warm: refused, unless None.
          budget_ms: milliseconds that the steps may take, at least one; None: all I.

        Returns:
          Plan of stddev 0, which keeps no sequences.

        Raises:
          TypeError, ValueError: the returns of the scorer have no gradients; or as
            `planet.ops.reference.cem_plan`.
        """
        if not hasattr(imagination, "differentiable_returns"):
            raise TypeError(
                "imagination: expected planet.Imagination, whose returns have gradients, got "
                f"{type(imagination).__name__}"
            )
        if warm is not None:
            raise ValueError("warm: expected None, gradient plans start cold")
        device = imagination.low.device
        budget_ms = check_budget(budget_ms, device)
        seeds = resolve_seeds(seed, imagination.batch_size, device)
        with torch.inference_mode(False), torch.no_grad():
            actions, done = self._climb(imagination, seeds, budget_ms)
            returns = imagination.differentiable_returns(actions, Noise(seeds, done))
            best = fit(actions, returns, 1, "population", 0.0, None)
        mean = best.mean.float()
        none = mean.new_empty(*mean.shape[:2], 0, mean.shape[2])
        return Plan(mean[0].clone(), mean, torch.zeros_like(mean), best.best, done, none)

    def _climb(
        self, imagination: Imagination, seeds: Tensor, budget_ms: float | None
    ) -> tuple[Tensor, int]:
        """Returns candidates [H, B, J, A] after steps of Adam, and how many there were."""
        box = box_of(imagination)
        shape = self.horizon, imagination.batch_size, box.low.shape[-1]
        mean, stddev = box.distribution(shape, self.initial_stddev)
        low, high, unit = (part[:, None] for part in (box.low, box.high, box.half_width))
        normal = draw_normals(seeds, self.candidates, mean, 0)
        actions = actions_around(mean, stddev, normal, low, high)
        slope, square = torch.zeros_like(actions), torch.zeros_like(actions)
        began, longest = time.perf_counter(), 0.0
        for step in range(self.iterations):
            now = time.perf_counter()
            if step and budget_ms is not None and (now - began + longest) * 1e3 > budget_ms:
                return actions, step
            gradient = unit * _gradient(imagination, actions, Noise(seeds, step))
            slope.lerp_(gradient, 1 - _DECAYS[0])
            square.lerp_(gradient.square(), 1 - _DECAYS[1])
            average, spread = (
                moment / (1 - decay ** (step + 1))
                for moment, decay in zip((slope, square), _DECAYS, strict=True)
            )
            rate = self.learning_rate * (1 - step / self.iterations)
            move = rate * average / (spread.sqrt() + _EPSILON)
            actions = (actions + unit * move).clamp(low, high)
            longest = max(longest, time.perf_counter() - now)
        return actions, self.iterations


def _gradient(imagination: Imagination, actions: Tensor, noise: Noise) -> Tensor:
    """Computes how returns rise with actions [H, B, J, A], each with its own."""
    with torch.enable_grad():
        actions = actions.detach().requires_grad_()
        total = imagination.differentiable_returns(actions, noise).sum()
        (gradient,) = torch.autograd.grad(total, actions)
    return gradient
