"""What profiles need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_profiling_and_doctor_need_torch_and_numpy_alone() -> None:
    program = """
import sys
for name in ("tyro", "gymnasium", "dm_control", "mujoco", "OpenGL", "tqdm", "matplotlib",
             "imageio", "tensorboard"):
    sys.modules[name] = None
import planet.profiling, planet.doctor
"""
    folder = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=folder)
