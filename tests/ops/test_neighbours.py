"""Plans in bf16 beside torch's bf16 products on the same threads, in forks and in new processes.

AMX's tiles are state of a thread, which torch's oneDNN configures in its own way, and of a process,
which asks for them: forked children have the permission, programs after an exec do not.
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
from ops.fused_support import ISAS, KERNELS, needs_extension
from ops.planning import answer, plan_in_bf16, run
from processes import python, variables

from planet.ops import fused

BF16 = [name for name, precision in KERNELS if precision == "bf16"]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone forks safely")
pytestmark = [
    needs_extension,
    pytest.mark.skipif(not BF16, reason="this processor has no bf16 kernels"),
    pytest.mark.parametrize("name", BF16),
]

SETUP = """
from concurrent.futures import ThreadPoolExecutor
from ops.planning import plan_in_bf16
fused._C.set_isa(sys.argv[1])
torch.set_num_threads(2)
generator = torch.Generator().manual_seed(0)
a, b = (torch.randn(n, 320, generator=generator).bfloat16() for n in (192, 256))
images = torch.randn(4, 16, 20, 20, generator=generator).bfloat16()
filters = torch.randn(32, 16, 3, 3, generator=generator).bfloat16()
def multiply():
    found = a @ b.t(), torch.conv2d(images, filters)
    return [each.float().sum().item() for each in found]
planned = plan_in_bf16
"""


def test_plans_and_torch_s_products_leave_each_other_right(name: str) -> None:
    """Before, between and after each other, and at the same time."""
    products = answer(run(SETUP + "say(multiply())", name))
    plans = answer(run(SETUP + "say(planned())", name))
    body = f"""{SETUP}
for _ in range(3):
    say(multiply())
    say(planned())
with ThreadPoolExecutor(4) as pool:
    work = [pool.submit((multiply, planned)[i % 2]) for i in range(12)]
    for each in work: say(each.result())
"""
    assert answer(run(body, name)) == (products + plans) * 9


@linux
def test_forked_children_plan_and_multiply_with_equal_bits(name: str) -> None:
    body = f"""{SETUP}
planned()  # with torch's threads, which a child does not have
multiply()
torch.set_num_threads(1)
def tell():
    say(planned(), multiply(), planned())
tell()
child = os.fork()
if child == 0:
    tell()
    os._exit(0)
os.waitpid(child, 0)
tell()
"""
    first, *others = answer(run(body, name))
    assert others == [first, first]


@linux
def test_a_program_after_an_exec_plans_with_equal_bits(name: str) -> None:
    again = """
if "again" not in sys.argv:
    sys.argv.append("again")
    os.execv(sys.executable, [sys.executable, "-c", program, *sys.argv[1:]])
"""
    body = f"{SETUP}program = open('/proc/self/cmdline').read().split(chr(0))[2]\nsay(planned())"
    first, second = answer(run(body + again, name))
    assert first == second


def test_a_spawned_process_plans_with_equal_bits(name: str) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        spawned = pool.submit(plan_in_bf16, name).result()
    assert [spawned] == answer(run(SETUP + "say(planned())", name))


def test_the_environment_caps_the_instruction_set(name: str) -> None:
    code = "from planet.ops import fused; print(fused._C.isa_name(), *fused._C.precisions())"

    def chosen(cap: str) -> list[str]:
        return python("-c", code, env=variables(PLANET_CPU_ISA=cap)).stdout.split()

    assert chosen(name)[0] == name and "bf16" in chosen(name)
    for narrower in {"avx512", "baseline"}.intersection(ISAS):
        assert chosen(narrower)[0] == narrower and "bf16" not in chosen(narrower)
    for wider in fused._C.build_info()["refused"]:  # which changes nothing
        assert chosen(wider) == chosen("")
