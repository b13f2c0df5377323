"""Settings of the machine."""

from __future__ import annotations

from dataclasses import dataclass

from planet.config.checks import check_at_least, check_types


@dataclass(frozen=True)
class ComputeConfig:
    """Says where a run computes, and on how many threads; part of the section `train`."""

    device: str = "cpu"  # of the model, its training and the planner, as torch names it
    threads: int = 0  # CPU threads of training and planning; 0: as torch has it [O]

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, 0, "threads")
