"""The gates of .ci/cuda see what they are there to see: each fails on a kernel made to fail it."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

CI = Path(__file__).resolve().parent.parent / ".ci"

# Sixty-four values that are alive at once, in 32 registers; and
# one multiplication by the matrix units.
KERNEL = """
#include <stdint.h>
namespace planet::cuda {
__global__ void __launch_bounds__(1024, 2) crowded(float* data) {
  float values[64];
  for (int i = 0; i < 64; ++i) values[i] = data[i * 1024 + threadIdx.x];
  for (int i = 0; i < 64; ++i) values[i] = values[i] * values[(i * 7 + 3) % 64] + values[63 - i];
  __syncthreads();
  for (int i = 0; i < 64; ++i) data[i * 1024 + threadIdx.x] = values[i];
}
__global__ void multiply(float* data, const uint4* weights) {
  float d[4] = {};
  uint4 a;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(a.x), "=r"(a.y), "=r"(a.z), "=r"(a.w) : "l"(weights));
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%4,%5}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w));
  for (int i = 0; i < 4; ++i) data[i * 32 + threadIdx.x] = d[i];
}
}  // namespace planet::cuda
"""


@pytest.fixture(scope="module")
def gates() -> Iterator[ModuleType]:
    sys.path.insert(0, str(CI))
    try:
        import cuda_gates

        yield cuda_gates
    finally:
        sys.path.remove(str(CI))
        sys.modules.pop("cuda_gates", None)
        sys.modules.pop("cuda_limits", None)


@pytest.fixture(scope="module")
def compiled(gates: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    if not (shutil.which("nvcc") and gates.tool("cuobjdump") and gates.tool("nvdisasm")):
        pytest.skip("needs nvcc and cuobjdump")
    folder = tmp_path_factory.mktemp("gates")
    (folder / "kernels.cu").write_text(KERNEL)
    cubin = folder / "kernels.cubin"
    gates.run("nvcc", "-cubin", "-arch=sm_90a", "-o", str(cubin), str(folder / "kernels.cu"))
    return {kernel.name.rpartition("::")[2]: kernel for kernel in gates.read_kernels(cubin)}


def test_machine_code_is_counted(compiled: dict[str, object]) -> None:
    kernel = compiled["multiply"]
    assert kernel.name == "planet::cuda::multiply"
    assert kernel.arch == "90a"
    assert 8 <= kernel.registers <= 64
    assert kernel.count("HMMA.16816.F32") == 1
    assert kernel.count("LDG.128") == 1
    assert kernel.local_bytes == 0
    assert kernel.count("EXIT") >= 1


def test_a_spilling_kernel_fails(gates: ModuleType, compiled: dict[str, object]) -> None:
    limits = gates.Limits("crowded", registers=32)
    (what,) = gates.violations(compiled["crowded"], limits)
    assert "B spilled, limit 16" in what


def test_a_kernel_with_too_many_registers_fails(
    gates: ModuleType, compiled: dict[str, object]
) -> None:
    limits = gates.Limits("multiply", registers=compiled["multiply"].registers - 1)
    (what,) = gates.violations(compiled["multiply"], limits)
    assert "registers, limit" in what


def test_a_lost_matrix_instruction_fails(gates: ModuleType, compiled: dict[str, object]) -> None:
    limits = gates.Limits("multiply", registers=64, at_least={"HMMA": 2, "LDG.128": 1})
    assert gates.violations(compiled["multiply"], limits) == ["1 HMMA, expected at least 2"]


def test_an_unwanted_instruction_fails(gates: ModuleType, compiled: dict[str, object]) -> None:
    limits = gates.Limits("multiply", registers=64, at_most={"STG": 3})
    assert gates.violations(compiled["multiply"], limits) == ["4 STG, limit 3"]


def test_a_source_with_definitions_of_the_build_compiles(gates: ModuleType, tmp_path: Path) -> None:
    if not shutil.which("nvcc"):
        pytest.skip("no nvcc")
    assert gates.compile_one(gates.KERNELS / "device.cu", "90a", tmp_path).is_file()


def test_a_kernel_without_a_row_and_a_row_without_a_kernel_fail(gates: ModuleType) -> None:
    kernel = gates.Kernel("planet::cuda::novel<1>", "80", 32, Counter({"EXIT": 1}))
    row = gates.Limits("other", registers=32, archs="80|90a")
    (missing,) = gates.check([kernel], [row], complete=False)
    assert "novel<1>, sm_80: add a row" in missing
    _, unused = gates.check([kernel], [row], complete=True)
    assert unused == "no kernel matches the row 'other'"
    # Of an architecture that this nvcc has not got.
    newer = gates.Limits("novel", registers=32, archs="100")
    assert gates.check([kernel], [newer], complete=True) == [missing]


def test_a_row_may_be_about_one_architecture(gates: ModuleType) -> None:
    table = [gates.Limits("k", registers=8, archs="90a"), gates.Limits("k", registers=64)]
    kernels = [gates.Kernel("k", arch, 32, Counter()) for arch in ("80", "90a")]
    assert gates.check(kernels, table, complete=True) == ["k, sm_90a: 32 registers, limit 8"]


def test_local_stores_are_counted_in_bytes(gates: ModuleType) -> None:
    code = Counter({"STL": 2, "STL.64": 1, "STL.128": 1, "LDL": 7, "STG.E": 3})
    assert gates.Kernel("k", "90a", 32, code).local_bytes == 8 + 8 + 16
