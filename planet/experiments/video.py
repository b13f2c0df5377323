"""Films what a world model sees and foresees beside the real frames.

    t            0 ... C-1         C ... L-1            L ... L+C-1     L+C ...
    real         o[t]              o[t]                 o[t]
    left to the
    model        filters o[t]      predicts by the      filters again   predicts
                 (context)         prior alone from     (context)
                                   the actions

Every L frames the prediction starts anew from the filtered belief, so errors can be seen to grow.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from planet.acting.agent import Agent
from planet.errors.short_repr import short_repr
from planet.latent import LatentState
from planet.models import WorldModel
from planet.models.vectors import join_vectors
from planet.ops.dynamics import imagine
from planet.ops.pixels import postprocess, preprocess
from planet.protocols import Policy
from planet.replay import Episode
from planet.storage.atomic import atomic_write

Frames = npt.NDArray[np.uint8]

_PANEL, _GAP, _TOP, _BOTTOM = 256, 8, 40, 40  # pixels; all sums are multiples of 16
_BACKGROUND, _TEXT, _FAINT = (24, 26, 31), (235, 235, 235), (150, 155, 165)
_SEEING, _PREDICTED = (90, 170, 110), (225, 120, 60)


@dataclass(frozen=True)
class Imagined:
    """Holds what the model makes of an episode of N + 1 frames.

    Attributes:
      reconstruction: uint8 [N+1, h, w, C], decoded posterior at every frame.
      prediction: uint8 [N+1, h, w, C], decoded prior; equals the reconstruction in the context.
      ahead: int [N+1], steps since the model last saw a frame; 0 in the context.
    """

    reconstruction: Frames
    prediction: Frames
    ahead: npt.NDArray[np.int64]

    __repr__ = short_repr


def check_pieces(context: int, length: int) -> None:
    """Refuses pieces of an episode that nothing is predicted in, with ValueError."""
    if not 1 <= context < length:
        raise ValueError(f"context: expected 1 <= context < length={length}, got {context}")


@torch.no_grad()
def imagine_episode(
    model: WorldModel, episode: Episode, context: int = 5, length: int = 50
) -> Imagined:
    """Filters an episode, and predicts it open loop, piece by piece.

    Means are used instead of samples, and dither of one half, so the result is deterministic.

    Args:
      model: the world model.
      episode: what the model observes, an `image`, uint8 [N+1, h, w, C], among it, and the executed
        actions.
      context: C, frames that are filtered at the start of every piece, at least 1.
      length: L, frames per piece, more than `context`.

    Raises:
      ValueError: `context` or `length` is out of range, or the episode has no image.
    """
    check_pieces(context, length)
    device = model.device
    _image(episode)
    seen = {name: torch.from_numpy(array).to(device) for name, array in episode.observation.items()}
    action = torch.from_numpy(episode.action).to(device)[:, None]
    frames, states = len(action), model.config.state_size
    pieces = [{name: x[i : i + 64] for name, x in seen.items()} for i in range(0, frames, 64)]
    embedding = torch.cat([model.embed(_inputs(model, piece)) for piece in pieces])
    no_noise = torch.zeros(frames, 1, states, device=device, dtype=torch.float32)
    filtered = model.filter_chunk(embedding[:, None], action, no_noise).latent
    belief, state = filtered.belief.clone(), filtered.state.clone()
    ahead = np.zeros(frames, np.int64)
    for first in range(context, frames, length):
        last = min(first - context + length, frames)
        start = LatentState(filtered.belief[first - 1], filtered.state[first - 1])
        latents, _ = imagine(model, start, action[first:last], no_noise[first:last])
        belief[first:last], state[first:last] = latents.belief, latents.state
        ahead[first:last] = np.arange(1, last - first + 1)
    return Imagined(_decode(model, filtered), _decode(model, LatentState(belief, state)), ahead)


def film(
    policy: Policy, episode: Episode, path: Path, fps: float, context: int = 5, length: int = 50
) -> int:
    """Writes the video of an episode: beside its frames what the policy's world model makes of it.

    A policy without a world model gets the frames alone. See `write_video`, `imagine_episode`.
    """
    model = policy.world_model if isinstance(policy, Agent) else None
    imagined = None if model is None else imagine_episode(model, episode, context, length)
    return write_video(path, episode, imagined, fps)


def write_video(path: Path, episode: Episode, imagined: Imagined | None, fps: float) -> int:
    """Writes an mp4: real frame, reconstruction and open-loop prediction side by side.

    Args:
      path: mp4 to write.
      episode: the real frames and rewards.
      imagined: of the same episode; None: the real frames alone.
      fps: frames per second; a frame per agent step.

    Returns:
      The number of frames, N + 1.

    Raises:
      ValueError: the episode has no image.
      OSError: the file cannot be written; an existing one stays as it was.
    """
    import imageio.v2 as imageio

    _image(episode)
    returns = np.cumsum(episode.reward, dtype=np.float64)
    with atomic_write(path) as file, tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "video.mp4"  # ffmpeg writes files by their names
        writer: Any = imageio.get_writer(made, fps=fps, codec="libx264", quality=8)
        with writer:
            for t in range(episode.length):
                writer.append_data(_compose(episode, imagined, t, float(returns[t])))
        with open(made, "rb") as video:
            shutil.copyfileobj(video, file)
    return episode.length


def _image(episode: Episode) -> Frames:
    if "image" not in episode.observation:
        names = list(episode.observation)
        raise ValueError(f"episode: expected an observation `image` to film, got {names}")
    return episode.observation["image"]


def _inputs(model: WorldModel, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Makes network inputs of arrays [N, ...] as `WorldModel.inputs`, but for the dither."""
    made = {"image": preprocess(observation["image"], model.config.bit_depth, 0.5)}
    if len(observation) > 1:
        made["vector"] = join_vectors(observation)
    return made


def _decode(model: WorldModel, latent: LatentState) -> Frames:
    """Decodes latents [T, 1, ...] to uint8 [T, h, w, C], a few at a time."""
    split = zip(torch.split(latent.belief, 64), torch.split(latent.state, 64), strict=True)
    pieces = [model.decode(LatentState(*parts))["image"] for parts in split]
    frames: Frames = np.concatenate([postprocess(piece)[:, 0].cpu().numpy() for piece in pieces])
    return frames


def _compose(episode: Episode, imagined: Imagined | None, t: int, total: float) -> Frames:
    """Draws a frame of the video: labelled panels and a line of numbers."""
    from PIL import Image, ImageDraw, ImageFont

    ahead = 0 if imagined is None else int(imagined.ahead[t])
    colour = _PREDICTED if ahead else _SEEING
    panels = [("real frame", _image(episode)[t], _TEXT)]
    if imagined is not None:
        panels += [
            ("reconstruction", imagined.reconstruction[t], _SEEING),
            ("open-loop prediction", imagined.prediction[t], colour),
        ]
    width, height = len(panels) * (_PANEL + _GAP) + _GAP, _TOP + _PANEL + _BOTTOM
    picture = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    title, small = ImageFont.load_default(18), ImageFont.load_default(15)
    left = _GAP
    for label, frame, tint in panels:
        newest = Image.fromarray(frame[..., -3:])
        enlarged = newest.resize((_PANEL, _PANEL), Image.Resampling.NEAREST)
        picture.paste(enlarged, (left, _TOP))
        draw.text((left + _PANEL // 2, _TOP // 2), label, fill=tint, font=title, anchor="mm")
        left += _PANEL + _GAP
    right, bottom = width - _GAP, _TOP + _PANEL
    middle = bottom + _BOTTOM // 2
    numbers = f"step {t} of {episode.length - 1}, return so far {total:.1f}"
    draw.text((_GAP, middle), numbers, fill=_FAINT, font=small, anchor="lm")
    if imagined is None:
        return np.asarray(picture)
    draw.rectangle((right - _PANEL - 3, _TOP - 3, right + 2, bottom + 2), outline=colour, width=3)
    steps = "step" if ahead == 1 else "steps"
    sight = f"{ahead} {steps} without a frame" if ahead else "sees frames"
    draw.text((right, middle), sight, fill=colour, font=small, anchor="rm")
    return np.asarray(picture)
