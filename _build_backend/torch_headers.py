"""Finds the torch headers to build against, without importing torch.

In order: PLANET_TORCH_INCLUDE, a torch that this interpreter can import, and the torch of the
environment that is being installed into (in pip's isolated builds `platlib` still names it).
The extension uses torch's stable ABI only, so headers and run time may differ in version.
Run as a script it prints the folder, or nothing.
"""

from __future__ import annotations

import importlib.util
import os
import sysconfig
from pathlib import Path

_PROBE = Path("torch/csrc/stable/library.h")


def find() -> Path | None:
    """The include folder of a torch with stable-ABI headers, or None."""
    candidates = []
    if override := os.environ.get("PLANET_TORCH_INCLUDE"):
        candidates.append(Path(override))
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent / "include")
    for key in ("platlib", "purelib"):
        candidates.append(Path(sysconfig.get_path(key)) / "torch" / "include")
    return next((path for path in candidates if (path / _PROBE).is_file()), None)


if __name__ == "__main__":
    print(find() or "")
