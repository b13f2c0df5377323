"""Objects that hold tensors are printed by their sizes, and survive pickles and copies."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import pkgutil
import re
from typing import Any

import pytest
import torch
from random_weights import TINY, TINY_SSM, make_problem, make_weights

import planet
from planet.errors.short_repr import short_repr
from planet.latent import LatentState
from planet.noise import Noise, row_seeds
from planet.planning import CEMPlanner, Imagination
from planet.protocols import Chunk, Plan

ARRAYS = re.compile(r"\b(Tensor|NDArray|Frames|Bound)\b")
MODEL_S_OWN = {"RolloutWeights"}  # prints the sizes that its shapes follow from


def dataclasses_of_the_package() -> dict[str, type]:
    found = {}
    for module in pkgutil.walk_packages(planet.__path__, "planet."):
        if module.name.rpartition(".")[2] in ("__main__", "_C"):
            continue
        try:
            names = vars(importlib.import_module(module.name))
        except ImportError:  # what needs an extra
            continue
        for value in names.values():
            if isinstance(value, type) and dataclasses.is_dataclass(value):
                found[value.__qualname__] = value
    return {name: kind for name, kind in found.items() if kind.__module__.startswith("planet")}


def test_every_dataclass_that_holds_tensors_prints_sizes() -> None:
    found = dataclasses_of_the_package()
    holders = {
        name: kind
        for name, kind in found.items()
        if any(ARRAYS.search(str(field.type)) for field in dataclasses.fields(kind) if field.repr)
    }
    assert {"Plan", "LatentState", "Refit", "Noise", "RolloutWeights", "Chunk"} <= set(holders)
    for name, kind in holders.items():
        assert (kind.__repr__ is short_repr) == (name not in MODEL_S_OWN), name


def test_sizes_stand_in_the_place_of_values() -> None:
    latent = LatentState(torch.zeros(1, 200), torch.zeros(1, 30, dtype=torch.float64))
    assert repr(latent) == "LatentState(belief=float32 [1, 200], state=float64 [1, 30])"
    there = LatentState(torch.zeros(2, 3, device="meta"), torch.zeros(2, 1, device="meta"))
    assert repr(there) == "LatentState(belief=float32 [2, 3] on meta, state=float32 [2, 1] on meta)"
    flat = torch.zeros(2, 1)
    chunk = Chunk({"image": flat.byte()}, torch.zeros(2, 1, 3), flat, flat.bool())
    assert repr(chunk).startswith("Chunk(observation={'image': uint8 [2, 1]}, action=float32")
    assert repr(Noise(row_seeds(0, 3), 1)) == "Noise(seed=int64 [3], iteration=1, particle=0)"
    assert repr(Noise(5)) == "Noise(seed=5, iteration=0, particle=0)"
    problem = make_problem(TINY, 2)
    imagination = repr(Imagination(problem.weights, problem.latent, high=[1.5, 2.0]))
    assert "box=Box(low=float32 [1, 2], high=float32 [1, 2], middle=" in imagination
    assert "backend='fused', precision='fp32', variant='portable'" in imagination
    for sizes in (TINY, TINY_SSM):
        shown = repr(make_weights(sizes))
        letters = f"D={sizes.belief}, S=3, A=2, M=7, reward={[*sizes.reward, 1]}"
        assert shown.startswith(f"RolloutWeights({letters}, transition=")
        assert shown.endswith("min_stddev=0.1, device='cpu')")


@pytest.mark.parametrize("sizes", [TINY, TINY_SSM], ids=["rssm", "ssm"])
def test_plans_latents_and_planners_are_pickled_and_copied(sizes: object) -> None:
    problem = make_problem(sizes, 2)  # type: ignore[arg-type]
    planner = CEMPlanner(2, 8, 1, 3)
    how: dict[str, Any] = {"backend": "reference", "low": [-1, -2]}
    imagination = Imagination(problem.weights, problem.latent, **how)
    plan = planner.plan(imagination)
    for twin in (copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        same = twin(planner).plan(twin(imagination))
        for other in (twin(plan), same):
            assert isinstance(other, Plan)
            assert torch.equal(other.mean, plan.mean)
            assert torch.equal(other.best_return, plan.best_return)
            assert other.finite.tolist() == [True, True]
