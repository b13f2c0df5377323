"""Says which renderer draws the environment's frames, and how long a frame takes.

    python benchmarks/gpu/render_probe.py --output render.json

64x64 frames of cheetah-run; "llvmpipe" as the renderer means that the processor draws.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from circumstances import circumstances
from gpu.runner import write_json

from planet.envs.measure import measure_frame_ms, renderer_info

QUALITIES = ("faithful", "fast")


def main() -> int:
    """Command line; exit status 1 when the processor draws although it was to be a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="expected to draw"
    )
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="few frames")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    frames = 5 if options.quick else options.frames
    found = {**circumstances(), **renderer_info(), "frames": frames, "ms": {}}
    print(f"{found['backend']}, {found['renderer']}", flush=True)
    for quality in QUALITIES:
        found["ms"][quality] = measure_frame_ms(quality, frames)
        if options.output:
            write_json(options.output, found)
        print(f"{quality}: {found['ms'][quality]}", flush=True)
    slow = options.device == "cuda" and "llvmpipe" in found["renderer"].lower()
    medians = ", ".join(f"{name} {ms['median']:.2f}" for name, ms in found["ms"].items())
    print(f"{'FAILED: ' if slow else ''}{found['renderer']}, ms per frame: {medians}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
