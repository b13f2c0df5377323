"""TorchRL's cross-entropy planner on the planner's own model, for the side-by-side row.

The RSSM prior and the reward head are wrapped as a TorchRL world model as its documentation has it:
`WorldModelWrapper` of two modules, driven by a `ModelBasedEnvBase`. The equations are those of
`planet.ops.reference`. TorchRL's planner starts from mean 0 and stddev 1, clips actions to the
bounds and refits mean and (sample) stddev to the K best, as ours does.

    pip install 'planet-rl[bench]'
"""

from __future__ import annotations

import warnings

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchrl.data import Bounded, Composite, Unbounded
    from torchrl.envs.model_based import ModelBasedEnvBase
    from torchrl.modules import CEMPlanner, WorldModelWrapper

from planet.latent import LatentState
from planet.ops import equations
from planet.weights.rollout_weights import RolloutWeights


class _Model(ModelBasedEnvBase):  # type: ignore[misc]
    """A world model of belief and state; `noise` [H, ..., S] replaces fresh normals if set."""

    def __init__(self, weights: RolloutWeights) -> None:
        def transition(belief: Tensor, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
            belief = equations.next_belief(weights, LatentState(belief, state), action)
            prior = equations.prior(weights, belief)
            normal = torch.randn_like(prior.mean) if self.noise is None else next(self.noise)
            return belief, prior.sample(normal)

        def reward(belief: Tensor, state: Tensor) -> Tensor:
            features = torch.cat([belief, state], -1)
            layers = weights.reward_weights, weights.reward_biases
            return equations.reward(features, *layers, weights.activation)[..., None]

        latent = ["belief", "state"]
        super().__init__(
            WorldModelWrapper(
                TensorDictModule(transition, in_keys=[*latent, "action"], out_keys=latent),
                TensorDictModule(reward, in_keys=latent, out_keys=["reward"]),
            )
        )
        self.noise = None
        sizes = {"belief": weights.belief_size, "state": weights.state_size}
        self.observation_spec = Composite({k: Unbounded((n,)) for k, n in sizes.items()})
        self.state_spec = self.observation_spec.clone()
        self.action_spec = Bounded(-1.0, 1.0, (weights.action_size,))
        self.reward_spec = Unbounded((1,))

    def _reset(self, tensordict: TensorDictBase, **kwargs: object) -> TensorDictBase:
        return tensordict


class TorchRLCEM:
    """Has the interface of `torch_cem.TorchCEM`."""

    def __init__(self, weights: RolloutWeights) -> None:
        self._env = _Model(weights)

    @torch.inference_mode()
    def plan(
        self, latent: LatentState, *, horizon: int, candidates: int, topk: int, iterations: int
    ) -> Tensor:
        """Action [B, A] to execute."""
        self._env.noise = None
        planner = CEMPlanner(self._env, horizon, iterations, candidates, topk)
        return planner(self._start(latent))["action"]

    @torch.inference_mode()
    def rollout(self, latent: LatentState, actions: Tensor, noise: Tensor) -> Tensor:
        """Returns [B, J] of actions [H, B, J, A] and normals [H, B, J, S], by the same stepping."""
        horizon, batch, candidates, _ = actions.shape
        start = self._start(latent).unsqueeze(-1).expand(batch, candidates).to_tensordict()
        self._env.noise, steps = iter(noise), iter(actions)
        played = self._env.rollout(
            horizon,
            policy=lambda td: td.set("action", next(steps)),
            auto_reset=False,
            tensordict=start,
            break_when_any_done=False,
        )
        return played["next", "reward"].sum(dim=(-2, -1))

    @staticmethod
    def _start(latent: LatentState) -> TensorDict:
        batch = latent.belief.shape[:1]
        return TensorDict({"belief": latent.belief, "state": latent.state}, batch)
