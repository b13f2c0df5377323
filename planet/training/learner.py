"""Makes gradient steps on chunks of replay: loss, backward pass, clipping, Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from planet.config import TrainConfig
from planet.errors.listing import listed
from planet.noise import row_seeds
from planet.protocols import Chunk, NonFiniteError, Policy, Replay
from planet.training.learner_state import check_learner_state
from planet.training.seeds import loss_seed
from planet.training.uploads import Uploads, upload

Loss = Callable[[Chunk, Tensor], dict[str, Tensor]]
"""Scalars of a chunk by name, `total` among them, which is minimised.

Random numbers derive from the tensor, seeds int64 [B] on the chunk's device (`planet.noise`).
"""


class GradientLearner:
    """Trains a model by gradient steps; a `planet.protocols.Learner`.

    Whether a step is finite is decided on the device. It masks the step there, and is looked at in
    `state_dict` alone, so that the host waits for no single update. On the CPU looking is free, so
    the step is left out.

    Args:
      model: what is trained, in place.
      loss: of the model.
      policy: what acts with the model after a number of episodes.
      config: sizes of a batch and settings of the optimiser.

    Attributes:
      updates: gradient steps made so far.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, policy: Callable[[int], Policy], config: TrainConfig
    ) -> None:
        self.model, self.config = model, config
        self.updates = 0
        self._loss, self._policy = loss, policy
        self._parameters = list(model.parameters())
        self._device = self._parameters[0].device
        self._uploads = Uploads(self._device, config)
        self.optimizer = torch.optim.Adam(
            self._parameters,
            lr=config.learning_rate,
            eps=config.adam_epsilon,
            fused=self._device.type == "cpu" or None,  # None: by tensors, counted on the host
        )
        self._finite = torch.zeros((), dtype=torch.int64, device=self._device)  # such updates
        self._batch: Chunk | None = None  # of the newest update, or the first that is not finite

    def update(self, replay: Replay) -> dict[str, Tensor]:
        """Makes one gradient step; see `planet.protocols.Learner.update`.

        Returns the loss's scalars, the gradient's global norm before clipping, the learning rate.
        """
        with self._uploads.chunk(replay, self.updates) as chunk:
            return self._learn(chunk)

    def _learn(self, chunk: Chunk) -> dict[str, Tensor]:
        train = self.config
        terms, norm = self._differentiate(chunk, self.updates)
        before = self._finite == self.updates
        self._remember(chunk, before)
        finite = before & torch.stack([*terms.values(), norm]).isfinite().all()
        share = min(1.0, (self.updates + 1) / (train.learning_rate_warmup or 1))
        rate = train.learning_rate * share
        self._step(norm, rate, finite)
        self._finite += finite
        self.updates += 1
        shown = torch.full((), rate, dtype=torch.float64, device="cpu")
        return {**terms, "gradient_norm": norm, "learning_rate": shown}

    def policy(self, episodes: int) -> Policy:
        """See `planet.protocols.Learner.policy`."""
        return self._policy(episodes)

    def state_dict(self) -> dict[str, Any]:
        """Returns model, optimiser and counter for a checkpoint; waits for the device.

        Raises:
          NonFiniteError: a loss term or gradient was NaN or infinite; model, optimiser and counter
            are those before that update.
        """
        finite = int(self._finite)
        if finite < self.updates:
            self._go_back(finite)
        model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        return {"model": model, "optimizer": optimizer, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned; the optimiser's settings stay those of `config`.

        Raises:
          ValueError: the state is another model's, damaged or not finite; nothing has changed then.
        """
        check_learner_state(state, self.model)
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        moments = {"state": state["optimizer"]["state"], "param_groups": groups}
        self.optimizer.load_state_dict(moments)
        self.updates = int(state["updates"])
        self._finite.fill_(self.updates)

    def _differentiate(self, chunk: Chunk, update: int) -> tuple[dict[str, Tensor], Tensor]:
        """Computes the gradients; returns the loss's scalars and the norm.

        The random numbers derive from (run seed, number of the update): a resumed run repeats them.
        """
        seeds = row_seeds(loss_seed(self.config.seed, update), chunk.reward.shape[1])
        terms = self._loss(chunk, upload(seeds, self._device))
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if len(gradients) < len(self._parameters):  # a checkpoint would have no moments of theirs
            lone = (name for name, p in self.model.named_parameters() if p.grad is None)
            raise ValueError(
                f"loss: expected a gradient of every parameter, got none of {listed(lone)}"
            )
        norm = torch.nn.utils.get_total_norm(gradients)
        return {name: term.detach() for name, term in terms.items()}, norm

    def _step(self, norm: Tensor, rate: float, finite: Tensor) -> None:
        """Clips and makes Adam's step, which stays without effect where `finite` is False."""
        at_once, limit = looks_at_once(self._device), self.config.gradient_clip_norm
        if not at_once or norm > limit:  # below, the factor is 1
            torch.nn.utils.clip_grads_with_norm_(self._parameters, limit, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if at_once:
            if finite:
                self.optimizer.step()
            return
        before = [tensor.clone() for tensor in self._changing()]
        self.optimizer.step()
        after = self._changing()
        zero = torch.zeros((), device=self._device, dtype=torch.float32)
        before += [zero] * (len(after) - len(before))  # moments before the first step
        for new, old in zip(after, before, strict=True):
            torch.where(finite, new, old, out=new)

    def _changing(self) -> list[Tensor]:
        """Lists the tensors that a step changes."""
        states = self.optimizer.state.values()
        moments = [state[name] for state in states for name in ("exp_avg", "exp_avg_sq")]
        return [*(parameter.detach() for parameter in self._parameters), *moments]

    def _remember(self, chunk: Chunk, replace: Tensor) -> None:
        """Keeps a chunk for the case that it is not finite, where `replace` is True."""
        if looks_at_once(self._device):
            self._batch = chunk if replace else self._batch
            return
        if self._batch is None:
            observation = {name: array.clone() for name, array in chunk.observation.items()}
            others = chunk.action.clone(), chunk.reward.clone(), chunk.terminated.clone()
            self._batch = Chunk(observation, *others)
        for kept, new in zip(_tensors(self._batch), _tensors(chunk), strict=True):
            torch.where(replace, new, kept, out=kept)

    def _go_back(self, updates: int) -> None:
        """Forgets the masked updates and raises for the first, which is computed once more."""
        batch = self._batch
        assert batch is not None
        terms, _ = self._differentiate(batch, updates)
        bad = [name for name, term in terms.items() if not term.isfinite()]
        # The total is bad whenever a term is; name the term.
        named = ", ".join([name for name in bad if name != "total"] or bad) or listed(
            f"gradient of {name}"
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None and not parameter.grad.isfinite().all()
        )
        error = NonFiniteError(named or "gradient norm", updates, batch.to("cpu"))
        for state in self.optimizer.state.values():
            state["step"].fill_(updates)
        if not updates:
            self.optimizer.state.clear()
        self.updates, self._batch = updates, None  # last: what interrupts this is said again
        raise error


def looks_at_once(device: torch.device) -> bool:
    """Tells whether looking at a tensor on the device costs no waiting."""
    return device.type == "cpu"


def _tensors(chunk: Chunk) -> list[Tensor]:
    return [*chunk.observation.values(), chunk.action, chunk.reward, chunk.terminated]
