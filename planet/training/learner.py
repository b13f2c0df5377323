"""One gradient step: loss, backward pass, clipping, Adam."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planet.checkpoint import save_checkpoint
from planet.config import TrainConfig
from planet.listing import listed
from planet.models import WorldModel
from planet.noise import mix_seed
from planet.protocols import Chunk
from planet.training.loss import sequence_loss


class NonFiniteError(RuntimeError):
    """A loss term or gradient became NaN or infinite; the parameters were left as they were.

    Attributes:
      term: what was not finite: a name of the loss's table, or "gradient of <parameter>".
      batch_path: where the batch was saved, unless that failed.
    """

    def __init__(self, term: str, batch_path: Path, failure: Exception | None = None) -> None:
        batch = f"is saved in {batch_path}" if failure is None else f"cannot be saved ({failure})"
        super().__init__(
            f"{term} is not finite; training stopped before the update, the batch {batch} and the "
            "last checkpoint is unchanged"
        )
        self.term = term
        self.batch_path = batch_path


@dataclass
class Learner:
    """The optimiser and its counter.

    Attributes:
      model: what is trained, in place.
      config: loss weights and optimiser settings.
      updates: gradient steps made so far.
    """

    model: WorldModel
    config: TrainConfig
    updates: int = 0

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=self.config.learning_rate, eps=self.config.adam_epsilon
        )
        self._generator = torch.Generator(self.model.device)

    def update(self, chunk: Chunk, batch_path: Path) -> dict[str, float]:
        """Makes one gradient step.

        The random numbers derive from (run seed, number of the update), so a resumed run repeats
        the ones of an uninterrupted run.

        Args:
          chunk: on the model's device.
          batch_path: where to save the batch if something is not finite.

        Returns:
          The loss terms, the gradient's global norm before clipping and the learning rate.

        Raises:
          NonFiniteError: a term or gradient is NaN or infinite.
        """
        # A generator takes seeds of 63 bits on some devices.
        self._generator.manual_seed(mix_seed(self.config.seed, self.updates) & ((1 << 63) - 1))
        terms = sequence_loss(self.model, chunk, self.config, self._generator)
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        # Clipping would spread a NaN over all gradients, so it waits until they are checked.
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        values = torch.stack([*(term.detach() for term in terms.values()), norm]).tolist()
        if not all(map(math.isfinite, values)):
            self._refuse(terms, chunk, batch_path)
        torch.nn.utils.clip_grads_with_norm_(
            self.model.parameters(), self.config.gradient_clip_norm, norm
        )
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.updates += 1
        names = [*terms, "gradient_norm"]
        return {**dict(zip(names, values, strict=True)), "learning_rate": rate}

    def state_dict(self) -> dict[str, Any]:
        """Model, optimiser and counter for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned; the optimiser's settings stay those of `config`."""
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        moments = {"state": state["optimizer"]["state"], "param_groups": groups}
        self.optimizer.load_state_dict(moments)
        self.updates = int(state["updates"])

    def _learning_rate(self) -> float:
        warmup = self.config.learning_rate_warmup
        share = min(1.0, (self.updates + 1) / warmup) if warmup else 1.0
        return self.config.learning_rate * share

    def _refuse(self, terms: Mapping[str, Tensor], chunk: Chunk, batch_path: Path) -> None:
        bad = [name for name, term in terms.items() if not torch.isfinite(term)]
        # The total is bad whenever a term is; name the term.
        named = [name for name in bad if name != "total"] or bad
        if not named:
            gradients = (
                f"gradient of {name}"
                for name, parameter in self.model.named_parameters()
                if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
            )
            named = [listed(gradients)]
        batch = {"config": asdict(self.config), **vars(chunk.to("cpu")), "update": self.updates}
        failure: Exception | None = None
        try:
            save_checkpoint(batch_path, batch)
        except (OSError, ValueError) as error:  # must not hide why the run ends
            failure = error
        raise NonFiniteError(", ".join(named) or "gradient norm", batch_path, failure)
