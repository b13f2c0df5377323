"""Holds compiled CUDA kernels to their limits: no GPU needed, the machine code is read.

What a kernel must not lose unnoticed when a compiler or a line of source changes: registers and
spills, the matrix instructions, streaming loads and bulk copies that it was written for.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cuda_limits import LIMITS, Limits

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "csrc" / "cuda"
JOBS = int(os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "2"))
OPTIONS = [
    "-std=c++17", "-cubin", "--fmad=false", "--Werror=all-warnings", "-Xptxas=-v",
    f"-I{ROOT / 'csrc'}", '-DPLANET_CUDA_ARCHS=""',
]  # fmt: skip
INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?(\w[\w.]*)", re.MULTILINE)
# Registers that a local load or store moves, by the last part of its name; 1 when there is none.
WIDTHS = {"64": 2, "128": 4}


@dataclass
class Kernel:
    """Holds one kernel's machine code for one architecture."""

    name: str  # demangled, without parameters
    arch: str  # as in "90a"
    registers: int
    code: Counter[str] = field(default_factory=Counter)  # instructions by full name

    def count(self, wanted: str) -> int:
        """Counts instructions of an operation with these modifiers among others: "LDG.E.128"."""
        operation, *modifiers = wanted.split(".")
        names = ((name.split("."), n) for name, n in self.code.items())
        return sum(n for parts, n in names if parts[0] == operation and set(modifiers) <= {*parts})

    @property
    def local_bytes(self) -> int:
        """Bytes that one thread stores to local memory if every such store runs once: spills."""
        stores = ((name.split("."), n) for name, n in self.code.items())
        return sum(4 * WIDTHS.get(parts[-1], 1) * n for parts, n in stores if parts[0] == "STL")


def tool(name: str) -> str | None:
    """Finds a CUDA tool: the one on PATH, or that of NVIDIA's wheels (extra dev)."""
    wheels = Path(sysconfig.get_path("purelib"), "nvidia").glob(f"*/bin/{name}")
    return shutil.which(name) or next((str(path) for path in wheels), None)


def run(*command: str) -> str:
    """Returns output and errors of a command; exits with them when it fails."""
    folders = [os.environ["PATH"], *(str(Path(p).parent) for p in [tool("nvdisasm")] if p)]
    environment = {**os.environ, "PATH": os.pathsep.join(folders)}  # cuobjdump calls nvdisasm
    done = subprocess.run(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}")
    return done.stdout


def architectures() -> list[str]:
    """Reads in cmake/cuda.cmake the architectures that wheels carry machine code for."""
    file = ROOT / "cmake" / "cuda.cmake"
    line = re.search(r"PLANET_CUDA_DEFAULT_ARCHS .*", file.read_text(encoding="utf-8"))
    assert line
    return re.findall(r"(\w+)-real", line[0])


def compile_all(folder: Path) -> list[Path]:
    """Compiles every .cu file for every architecture."""
    sources = sorted(KERNELS.rglob("*.cu"))
    with ThreadPoolExecutor(JOBS) as pool:
        jobs = [(source, arch, folder) for source in sources for arch in architectures()]
        return list(pool.map(compile_one, *zip(*jobs, strict=True)))


def compile_one(source: Path, arch: str, folder: Path) -> Path:
    """Compiles a .cu file; a warning or remark of ptxas is an error.

    ptxas reports lost performance as remarks with a number, as in "(C7510) Potential Performance
    Loss: wgmma.mma_async instructions are serialized".
    """
    name = source.relative_to(KERNELS).as_posix()
    cubin = folder / f"{name.replace('/', '-')}.{arch}.cubin"
    log = run("nvcc", *OPTIONS, f"-arch=sm_{arch}", "-o", str(cubin), str(source))
    if remarks := [line for line in log.splitlines() if re.search(r"\(C\d+\)|warning", line)]:
        sys.exit(f"{name}, sm_{arch}:\n" + "\n".join(remarks))
    return cubin


def read_kernels(file: Path) -> Iterator[Kernel]:
    """Yields the kernels in a cubin, library or extension."""
    dump = tool("cuobjdump")
    assert dump
    usage = {}
    arch = ""
    lines = run(dump, "-res-usage", str(file)).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := re.match(r"arch = sm_(\w+)", line):
            arch = match[1]
        elif match := re.match(r" Function (\S+):", line):
            registers = re.search(r"REG:(\d+)", following)
            assert registers
            usage[arch, match[1]] = int(registers[1])
    code = run(dump, "-sass", str(file))
    for block in re.split(r"^\s+code for sm_", code, flags=re.MULTILINE)[1:]:
        arch, _, rest = block.partition("\n")
        for text in rest.split("Function : ")[1:]:
            symbol, _, body = text.partition("\n")
            # A cubin's resource usage does not say its architecture.
            registers = usage.get((arch, symbol), usage.get(("", symbol)))
            assert registers is not None, f"{file}: no resource usage of {symbol}, sm_{arch}"
            yield Kernel(demangle(symbol), arch, registers, Counter(INSTRUCTION.findall(body)))


def demangle(symbol: str) -> str:
    """Returns the qualified name with template arguments."""
    return run("c++filt", "--no-params", symbol).strip().removeprefix("void ")


def violations(kernel: Kernel, limits: Limits) -> list[str]:
    """Says in words what the kernel breaks."""
    found = []
    if kernel.registers > limits.registers:
        found.append(f"{kernel.registers} registers, limit {limits.registers}")
    if kernel.local_bytes > limits.local_bytes:
        found.append(f"{kernel.local_bytes} B spilled, limit {limits.local_bytes}")
    for name, least in limits.at_least.items():
        if kernel.count(name) < least:
            found.append(f"{kernel.count(name)} {name}, expected at least {least}")
    for name, most in limits.at_most.items():
        if kernel.count(name) > most:
            found.append(f"{kernel.count(name)} {name}, limit {most}")
    return found


def check(kernels: list[Kernel], table: list[Limits], complete: bool) -> list[str]:
    """Lists every violation. The first row that matches holds.

    `complete`: no row may be left over, but for those of architectures of which nothing is here:
    an older nvcc has not got them all.
    """
    errors, used = [], set()
    for kernel in kernels:
        row = next((row for row in table if row.matches(kernel.name, kernel.arch)), None)
        if row is None:
            errors.append(f"{kernel.name}, sm_{kernel.arch}: add a row to .ci/cuda_limits.py")
            continue
        used.add(id(row))
        errors += [f"{kernel.name}, sm_{kernel.arch}: {what}" for what in violations(kernel, row)]
    if complete:
        archs = {kernel.arch for kernel in kernels}
        rows = [row for row in table if any(re.fullmatch(row.archs, arch) for arch in archs)]
        unused = [row.kernel for row in rows if id(row) not in used]
        errors += [f"no kernel matches the row {kernel!r}" for kernel in unused]
    return errors


def describe(kernel: Kernel) -> str:
    """Writes a line of the table."""
    counts = [kernel.count(c) for c in ("HMMA", "LDSM", "LDG.E.128", "UBLKCP", "LDL", "STL")]
    cells = "".join(f"{count:>6}" for count in counts)
    name = kernel.name.replace("planet::cuda::", "")
    return f"{kernel.arch:>5}{kernel.registers:>5}{cells}  {name}"


def main(files: list[Path]) -> None:
    """Reads `files`, or what it compiles itself, and exits with the violations."""
    if missing := [name for name in ("cuobjdump", "nvdisasm") if not tool(name)]:
        print(f"CUDA kernels: NOT checked, no {' and no '.join(missing)} (extra dev)")
        return
    if not files and not shutil.which("nvcc"):
        print("CUDA kernels: NOT checked, no nvcc on PATH")
        return
    complete = not any(file.suffix == ".cubin" for file in files)
    with tempfile.TemporaryDirectory() as folder:
        kernels = [k for f in files or compile_all(Path(folder)) for k in read_kernels(f)]
    kernels.sort(key=lambda kernel: (kernel.name, int(re.sub(r"\D", "", kernel.arch))))
    print("   sm regs  HMMA  LDSM LDG128 BULK  LDL   STL  kernel")
    print("\n".join(map(describe, kernels)), flush=True)
    if errors := check(kernels, LIMITS, complete):
        sys.exit("\n".join(["CUDA kernels beyond their limits:", *errors]))
    print(f"CUDA kernels: {len(kernels)} within their limits")
    if absent := set(architectures()) - {kernel.arch for kernel in kernels}:
        print(f"CUDA kernels: NOT checked for sm_{', sm_'.join(sorted(absent))}, not compiled")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
