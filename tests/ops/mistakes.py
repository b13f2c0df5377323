"""Calls of the ops that are right, and what is changed in them, refused with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from random_weights import TINY, make_problem, make_weights

from planet.latent import LatentState
from planet.noise import Noise, row_seeds

H, B, J = 3, 2, 8
D, S, A = TINY.belief, TINY.state, TINY.action


def zeros(*shape: int, **options: Any) -> torch.Tensor:
    return torch.zeros(*shape, **options)


WEIGHTS = make_weights()
LATENT = make_problem(TINY, B).latent
GOOD: dict[str, dict[str, Any]] = {
    "rollout_returns": {
        "weights": WEIGHTS, "latent": LATENT, "actions": zeros(H, B, J, A), "noise": None,
    },
    "refit": {"actions": zeros(H, B, J, A), "returns": zeros(B, J), "topk": 2},
    "cem_plan": {
        "weights": WEIGHTS, "latent": LATENT, "mean": zeros(H, B, A), "stddev": zeros(H, B, A) + 1,
        "seed": 0, "candidates": J, "topk": 2, "iterations": 1,
    },
}  # fmt: skip


def sequence_errors(name: str, layout: str, shape: list[int]) -> list[Any]:
    """Lists what every float32 tensor argument refuses."""
    rest = shape[1:]
    return [
        ({name: [0.0]}, TypeError, f"{name}: expected a tensor {layout}, got list"),
        ({name: zeros(*shape, dtype=torch.float64)}, TypeError,
         f"{name}: expected torch.float32, got torch.float64"),
        ({name: zeros(*shape, dtype=torch.float16)}, TypeError,
         f"{name}: expected torch.float32, got torch.float16"),
        ({name: zeros(*shape, dtype=torch.int64)}, TypeError,
         f"{name}: expected torch.float32, got torch.int64"),
        ({name: zeros(*shape).to_sparse()}, TypeError,
         f"{name}: expected a dense tensor, got torch.sparse_coo"),
        ({name: zeros(*rest)}, ValueError, f"{name}: expected shape {layout}, got {rest}"),
        ({name: zeros(1, *shape)}, ValueError,
         f"{name}: expected shape {layout}, got {[1, *shape]}"),
    ]  # fmt: skip


LATENTS = [
    ({"latent": None}, TypeError, "latent: expected LatentState, got NoneType"),
    ({"latent": LATENT.belief}, TypeError, "latent: expected LatentState, got Tensor"),
    ({"latent": LatentState([0.0], zeros(B, S))}, TypeError,
     "latent.belief: expected a tensor [B, D] or [B, J, D], got list"),
    ({"latent": LatentState(zeros(B, D), None)}, TypeError,
     "latent.state: expected a tensor [B, S] or [B, J, S], got NoneType"),
    ({"latent": LatentState(zeros(D), zeros(S))}, ValueError,
     "latent.belief: expected shape [B, D] or [B, J, D], got [5]"),
    ({"latent": LatentState(zeros(B + 1, D), zeros(B + 1, S))}, ValueError,
     "latent.belief: expected shape [2, 5] ([B, D]), got [3, 5]"),
    ({"latent": LatentState(zeros(B, D), zeros(B, S + 1))}, ValueError,
     "latent.state: expected shape [2, 3] ([B, S]), got [2, 4]"),
    ({"latent": LatentState(zeros(B, J + 1, D), zeros(B, J + 1, S))}, ValueError,
     "latent.belief: expected shape [2, 8, 5] ([B, J, D]), got [2, 9, 5]"),
    ({"latent": LatentState(zeros(B, J, D), zeros(B, S))}, ValueError,
     "latent.state: expected shape [B, J, S] like latent.belief, got [2, 3]"),
    ({"latent": LatentState(zeros(B, D), zeros(B, J, S))}, ValueError,
     "latent.state: expected shape [B, S] like latent.belief, got [2, 8, 3]"),
    ({"latent": LatentState(zeros(B, D).double(), zeros(B, S))}, TypeError,
     "latent.belief: expected torch.float32, got torch.float64"),
    ({"latent": LatentState(zeros(B, D), zeros(B, S, device="meta"))}, ValueError,
     "latent.state: expected device cpu, got meta"),
]  # fmt: skip
WEIGHT_AND_MODE = [
    ({"weights": None}, TypeError, "weights: expected RolloutWeights, got NoneType"),
    ({"discount": "1"}, TypeError, "discount: expected a float, got str"),
    ({"discount": float("nan")}, ValueError, "discount: expected a finite value, got nan"),
    ({"discount": 10**400}, ValueError,
     "discount: expected a finite value, got an int of 1329 bits"),
    ({"precision": "fp8"}, ValueError,
     "precision: expected one of ['fp32', 'int8', 'fp16', 'bf16'], got 'fp8'"),
]  # fmt: skip
SPREADS = [
    ({"spread": "std"}, ValueError,
     "spread: expected one of ['population', 'mean_absolute'], got 'std'"),
    ({"spread": None}, ValueError,
     "spread: expected one of ['population', 'mean_absolute'], got None"),
    ({"epsilon": "0"}, TypeError, "epsilon: expected a float, got str"),
    ({"epsilon": -1e-9}, ValueError, "epsilon: expected a value >= 0, got -1e-09"),
    ({"epsilon": float("inf")}, ValueError, "epsilon: expected a finite value, got inf"),
    ({"topk": 2.0}, TypeError, "topk: expected an int, got float"),
    ({"topk": True}, TypeError, "topk: expected an int, got bool"),
    ({"topk": 0}, ValueError, "topk: expected 1 <= K <= J=8, got 0"),
    ({"topk": 9}, ValueError, "topk: expected 1 <= K <= J=8, got 9"),
    ({"topk": 1, "spread": "mean_absolute"}, ValueError,
     "topk: expected K >= 2 for spread='mean_absolute', got 1"),
]  # fmt: skip
REFUSED: dict[str, list[Any]] = {
    "rollout_returns": [
        *WEIGHT_AND_MODE,
        *LATENTS,
        *sequence_errors("actions", "[H, B, J, A]", [H, B, J, A]),
        ({"actions": zeros(H, B, J, A + 1)}, ValueError,
         "actions: expected shape [3, 2, 8, 2] ([H, B, J, A]), got [3, 2, 8, 3]"),
        ({"actions": zeros(0, B, J, A)}, ValueError,
         "actions: expected sizes >= 1 in [H, B, J, A], got [0, 2, 8, 2]"),
        ({"actions": zeros(H, 0, J, A)}, ValueError,
         "actions: expected sizes >= 1 in [H, B, J, A], got [3, 0, 8, 2]"),
        ({"actions": zeros(65536, 1, 1, A)}, ValueError,
         "actions: expected a horizon H <= 65535, got 65536"),
        ({"actions": zeros(H, B, J, A, device="meta")}, ValueError,
         "actions: expected device cpu, got meta"),
        ({"noise": 3}, TypeError, "noise: expected Noise, a tensor [H, B, J, S] or None, got int"),
        *sequence_errors("noise", "[H, B, J, S]", [H, B, J, S])[1:],
        ({"noise": zeros(H, B, J, S + 1)}, ValueError,
         "noise: expected shape [3, 2, 8, 3] ([H, B, J, S]), got [3, 2, 8, 4]"),
        ({"noise": zeros(H, B, J, S, device="meta")}, ValueError,
         "noise: expected device cpu, got meta"),
        ({"noise": Noise(row_seeds(0, 3))}, ValueError,
         "noise.seed: expected an int64 tensor [B=2], got shape [3]"),
        ({"noise": Noise(row_seeds(0, 1)[0])}, ValueError,
         "noise.seed: expected an int64 tensor [B=2], got shape []"),
        ({"noise": Noise(row_seeds(0, 2).to("meta"))}, ValueError,
         "noise.seed: expected device cpu, got meta"),
    ],
    "refit": [
        *SPREADS,
        *sequence_errors("actions", "[H, B, J, A]", [H, B, J, A]),
        *sequence_errors("returns", "[B, J]", [B, J]),
        ({"actions": zeros(H, B, J, 0)}, ValueError,
         "actions: expected sizes >= 1 in [H, B, J, A], got [3, 2, 8, 0]"),
        ({"returns": zeros(B, J + 1)}, ValueError,
         "returns: expected shape [2, 8] ([B, J]), got [2, 9]"),
        ({"returns": zeros(B, J, device="meta")}, ValueError,
         "returns: expected device cpu, got meta"),
    ],
    "cem_plan": [
        *WEIGHT_AND_MODE,
        *LATENTS,
        *SPREADS,
        *sequence_errors("mean", "[H, B, A]", [H, B, A]),
        *sequence_errors("stddev", "[H, B, A]", [H, B, A]),
        ({"mean": zeros(H, B, A + 1)}, ValueError,
         "mean: expected shape [3, 2, 2] ([H, B, A]), got [3, 2, 3]"),
        ({"mean": zeros(H, B, 0)}, ValueError,
         "mean: expected sizes >= 1 in [H, B, A], got [3, 2, 0]"),
        ({"mean": zeros(65536, 1, A)}, ValueError,
         "mean: expected a horizon H <= 65535, got 65536"),
        ({"mean": zeros(H, B, A, device="meta")}, ValueError,
         "mean: expected device cpu, got meta"),
        ({"stddev": zeros(H, 1, A)}, ValueError,
         "stddev: expected shape [3, 2, 2] ([H, B, A]), got [3, 1, 2]"),
        ({"stddev": zeros(H, B, A, device="meta")}, ValueError,
         "stddev: expected device cpu, got meta"),
        ({"seed": None}, TypeError,
         "seed: expected an int or an int64 tensor [B=2], got NoneType"),
        ({"seed": 0.0}, TypeError, "seed: expected an int or an int64 tensor [B=2], got float"),
        ({"seed": 2**64}, ValueError,
         "seed: expected a value in [-2**63, 2**64), got 18446744073709551616"),
        ({"seed": row_seeds(0, 3)}, ValueError,
         "seed: expected an int64 tensor [B=2], got shape [3]"),
        ({"seed": row_seeds(0, 2)[None]}, ValueError,
         "seed: expected an int64 tensor [B=2], got shape [1, 2]"),
        ({"seed": zeros(2)}, TypeError, "seed: expected an int64 tensor [B=2], got torch.float32"),
        ({"seed": row_seeds(0, 2).to("meta")}, ValueError, "seed: expected device cpu, got meta"),
        ({"candidates": 8.0}, TypeError, "candidates: expected an int, got float"),
        ({"candidates": 0}, ValueError, "candidates: expected a value >= 1, got 0"),
        ({"candidates": 2**31}, ValueError,
         "candidates: expected a value <= 2147483647, got 2147483648"),
        ({"iterations": True}, TypeError, "iterations: expected an int, got bool"),
        ({"iterations": 0}, ValueError, "iterations: expected a value >= 1, got 0"),
        ({"iterations": 65537}, ValueError, "iterations: expected a value <= 65536, got 65537"),
        ({"first_iteration": -1}, ValueError, "first_iteration: expected a value >= 0, got -1"),
        ({"first_iteration": 65536}, ValueError,
         "first_iteration: expected first_iteration + iterations <= 65536, got 65536 + 1"),
        ({"first_iteration": 0.0}, TypeError, "first_iteration: expected an int, got float"),
        ({"low": "-1"}, TypeError, "low: expected a float or values [A] or [B, A], got str"),
        ({"low": float("-inf")}, ValueError, "low: expected a finite value, got -inf"),
        ({"low": 1.5}, ValueError, "low: expected a value <= high=1.0, got 1.5"),
        ({"low": True}, TypeError, "low: expected a float or values [A] or [B, A], got bool"),
        ({"high": 1e39}, ValueError, "high: expected a finite float32 value, got 1e+39"),
        ({"low": np.array([0.0, np.nan])}, ValueError,
         "low: expected finite float32 values, got nan at [1]"),
        ({"high": [[1.0, 1.0], [1.0, 1e39]]}, ValueError,
         "high: expected finite float32 values, got inf at [1, 1]"),
        ({"low": zeros(2), "high": torch.tensor([0.0, -1.0])}, ValueError,
         "low: expected values <= high, got 0.0 above -1.0 at [1]"),
        ({"low": [0, 2]}, ValueError, "low: expected values <= high, got 2.0 above 1.0 at [1]"),
        ({"low": [0.0, "1"]}, TypeError, "low: expected real numbers, got dtype <U32"),
        ({"low": np.zeros(2, bool)}, TypeError, "low: expected real numbers, got dtype bool"),
        ({"low": [[0.0], [0.0, 0.0]]}, ValueError,
         "low: expected rows of one length, got [[0.0], [0.0, 0.0]]"),
        ({"low": np.array(0.0)}, ValueError,
         "low: expected a float or shape [A] or [B, A], got []"),
        ({"low": zeros(2), "high": zeros(1, 3)}, ValueError,
         "low, high: expected shapes that agree, got [2] and [1, 3]"),
        ({"high": zeros(3)}, ValueError,
         "high: expected a float or shape [A=2] or [B=2, A=2], got [3]"),
        ({"high": zeros(1, 2)}, ValueError,
         "high: expected a float or shape [A=2] or [B=2, A=2], got [1, 2]"),
        ({"high": zeros(2, dtype=torch.complex64)}, TypeError,
         "high: expected real numbers, got torch.complex64"),
        ({"high": zeros(2).to_sparse()}, TypeError,
         "high: expected a dense tensor, got torch.sparse_coo"),
        ({"high": zeros(2, device="meta")}, ValueError, "high: expected device cpu, got meta"),
        ({"state_noise": None}, TypeError, "state_noise: expected bool, got NoneType"),
        ({"state_noise": 1}, TypeError, "state_noise: expected bool, got int"),
        ({"budget_ms": 0}, ValueError, "budget_ms: expected a value > 0, got 0"),
        ({"budget_ms": "5"}, TypeError, "budget_ms: expected a float, got str"),
        ({"budget_ms": float("nan")}, ValueError, "budget_ms: expected a finite value, got nan"),
        ({"variant": "fast"}, ValueError,
         "variant: expected one of ['portable', 'persistent'], got 'fast'"),
    ],
}  # fmt: skip
