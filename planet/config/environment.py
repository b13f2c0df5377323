"""Settings of the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from planet.config.checks import check_positive, check_range, check_types

RENDERING = ("render_size", "camera", "quality")


@dataclass(frozen=True)
class EnvironmentConfig:
    """Says which task the agent acts in, and what it sees of it."""

    task: str = "cheetah-run"  # DM Control "domain-task", "toy-reach", or "gym:ID" of Gymnasium
    action_repeat: int | None = None  # R, control steps per action; None: the task's [P App. A]
    image_size: int = 64  # pixels per side of an observation [P Sec. 5]
    render_size: int = 64  # pixels per side as rendered, averaged down to image_size [O]
    camera: int = 0  # camera of the physics model [G control/wrappers.py:315]
    quality: Literal["reference", "faithful", "fast"] = "faithful"  # render settings [O]
    control_steps: int | None = None  # of an episode; None: the task's, 1000 [G tasks.py]
    observe: Literal["pixels", "vectors", "both"] = "pixels"  # vectors: the task's own numbers [O]
    frames: int = 1  # newest pictures in an image, along its channels; 1 hides velocities [O]

    @property
    def hides_velocities(self) -> bool:
        """Whether one observation is one picture of what moves, as in the control suite."""
        # The toy task's points stop at once, and of Gymnasium's tasks nothing is known.
        known = self.task == "toy-reach" or self.task.startswith("gym:")
        return self.observe == "pixels" and self.frames == 1 and not known

    @property
    def rendering(self) -> dict[str, Any]:
        """Returns how pictures are made, beside their size; none where nothing is drawn."""
        drawn = self.observe != "vectors"
        return {name: getattr(self, name) for name in RENDERING} if drawn else {}

    def __post_init__(self) -> None:
        check_types(self)
        check_positive(self, "image_size", "render_size", "action_repeat", "control_steps")
        check_positive(self, "frames")
        check_range(self, 0, None, "camera")
        if self.render_size % self.image_size:
            raise ValueError(
                f"render_size: expected a multiple of image_size={self.image_size}, "
                f"got {self.render_size}"
            )
        if self.frames > 1 and self.observe == "vectors":
            raise ValueError(f"frames: expected 1 where observe is 'vectors', got {self.frames}")
