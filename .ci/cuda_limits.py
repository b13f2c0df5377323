"""Lists what .ci/cuda_gates.py holds each compiled CUDA kernel to."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """Limits the kernels whose qualified name contains the regular expression `kernel`.

    Instructions are named by operation and modifiers, as in "HMMA" or "LDG.128".
    """

    kernel: str
    registers: int  # most registers of a thread
    local_bytes: int = 16  # most bytes that a thread spills
    at_least: dict[str, int] = field(default_factory=dict)
    at_most: dict[str, int] = field(default_factory=dict)
    archs: str = ".*"  # regular expression, matched against all of "90a"

    def matches(self, name: str, arch: str) -> bool:
        """Tells whether this row is about kernel `name` for architecture `arch`."""
        return bool(re.search(self.kernel, name) and re.fullmatch(self.archs, arch))


# Waits invalidate the L1 cache where the grid meets (twice) and the cluster (thrice), in no step of
# a rollout. Traps are what PLANET_BOUNDED_WAITS is for.
WAITS = {"CCTL.IVALL": 5, "BPT": 0}

# An element of half precision's GRU is three MUFU.TANH, a softplus one MUFU.EX2 and one MUFU.LG2.
# By exponentials it would be three MUFU.EX2, each with a comparison (FSETP) that checks the range,
# and as many MUFU.RCP. The exact path has those of one element, and continuation adds sigmoids to
# it and to the returns; for newer architectures ptxas writes the tiles' code twice. The 24 and
# 96 MUFU.TANH of the tiles by exponentials would be 72 and 288 MUFU.EX2, far beyond these limits.

# The first row that matches a kernel holds for it.
LIMITS = [
    # The GRU's weights fill the registers. Its three loops (one before the steps, two in them) have
    # 78 multiplications each and read activations alone: weights would be 39 more loads or more per
    # loop, for which these limits have no room.
    *(
        Limits(
            r"\bpersistent_kernel<.*, 13,",
            registers=255,
            at_least={"HMMA": 450, "LDSM": 180, "UBLKCP": 12, "MUFU.TANH": 24},
            at_most={"LDS": shared_loads, "LDG": 300, "LDL": 4, "MUFU": 78, "FSETP": 190, **WAITS},
            archs=arch,
        )
        for arch, shared_loads in (("90a", 580), ("100", 740))
    ),
    Limits(
        r"\bpersistent_kernel<.*, 4,",
        registers=255,
        at_least={"HMMA": 140, "LDSM": 60, "UBLKCP": 12, "MUFU.TANH": 24},
        at_most={"MUFU": 78, "FSETP": 190, **WAITS},
        archs="90a|100",
    ),
    Limits(r"\bpersistent_kernel<", registers=16, at_most={"HMMA": 0}),  # refused there: empty
    # Only what draws noise and actions spills, once per step. Weights come 16 bytes per lane, past
    # the L1 cache; every matrix instruction of the inner loops is counted.
    Limits(
        r"\brollout_tiles<.*Float32Products, 1>",
        registers=128,
        local_bytes=96,
        at_least={"HMMA": 108, "LDSM": 20, "LDG.128": 30},
    ),
    Limits(
        r"\brollout_tiles<.*Float32Products, 2>",
        registers=128,
        local_bytes=96,
        at_least={"HMMA": 216, "LDSM": 40, "LDG.128": 30},
    ),
    Limits(
        r"\brollout_tiles<.*, 4>",
        registers=255,
        at_least={"HMMA": 576, "LDSM": 160, "LDG.128": 60, "MUFU.TANH": 96},
        at_most={"MUFU.EX2": 60, "MUFU.RCP": 30},
    ),
    Limits(
        r"\brollout_tiles<.*, [12]>",
        registers=128,
        local_bytes=80,
        at_least={"HMMA": 144, "LDSM": 40, "LDG.128": 36, "MUFU.TANH": 24},
        at_most={"MUFU.EX2": 36, "MUFU.RCP": 30},
    ),
    Limits(r"\bexact_rollouts\b", registers=128, local_bytes=0),
    Limits(
        r"\b(measure_layers|pack_tiles|pack_vectors|copy_arrays)\b", registers=64, local_bytes=0
    ),
    Limits(r"\bselect_kernel\b", registers=128, local_bytes=0),
    # For newer architectures ptxas spills a word or a few rather than have fewer blocks at once.
    Limits(r"\bfit_kernel<true>", registers=64),
    Limits(r"\bfit_kernel\b", registers=64, local_bytes=0),
    Limits(r"\bplan_refit_kernel<true>", registers=80, local_bytes=48, archs="100|120"),
    Limits(r"\bplan_refit_kernel\b", registers=64),
    # Mixed normals of four candidates at eight times; ptxas unrolls them for newer architectures.
    Limits(r"\bplan_actions_kernel\b", registers=128, local_bytes=0),
    Limits(r"\b(table|images)_kernel\b", registers=64, local_bytes=0),
    Limits(r"\bprobe\b", registers=16, local_bytes=0),
]
