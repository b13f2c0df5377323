"""Tries planet as newcomers meet it, and prints what ran and what could not be tried.

    make first-steps [STEPS="--quick | --all | --only WORDS | --python PATH | --keep"]

Each case starts from nothing: a user of its own with a login's PATH, a fresh home, and a fresh
clone or unpacked sdist. In it `make demo` (a short one), `make test` (a few tests), `planet doctor`
and the README's Python examples must work; unless --quick is given also `make gate` (a rehearsal)
and `make check`. Cases share nothing but pip's downloads. As root the ordinary user is made, and
removed in the end. Clones hold what is committed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGIN_PATH = "/usr/local/bin:/usr/bin:/bin"
SYSTEM_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
AWKWARD = "Müller & Söhne (a test)"
USER = "planet-first-steps"
DEMO = (
    "--train.episodes 3 --train.seed-episodes 2 --train.initial-updates 4 "
    "--train.updates-per-episode 2 --planner.candidates 40 --planner.topk 4"
)
TESTS = (
    "--no-cov -q -n 0 test_packaging.py test_build_backend.py test_build_cuda.py test_imports.py"
)
KEPT = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TORCH", "CMAKE_BUILD_PARALLEL_LEVEL",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip
OLD_NVCC = """#!/bin/sh
case "$*" in *compute_100*|*compute_120*)
  echo "nvcc fatal   : Unsupported gpu architecture 'compute_100'" >&2; exit 1;;
esac
exec {nvcc} "$@"
"""


class CannotTry(Exception):
    """Says why this machine does not allow a case."""


@dataclass(frozen=True)
class Case:
    """Describes a newcomer."""

    user: str  # "root" or "ordinary"
    source: str  # "clone" or "sdist"
    folder: str  # "plain" or "awkward"
    nvcc: str  # "none", "old" (its kernels are built, too) or "new"
    python: str = "/usr/bin/python3"

    def __str__(self) -> str:
        return f"{self.user:9}{self.source:6}{self.folder:8} nvcc {self.nvcc:5}{self.python}"


QUICK = Case("ordinary", "sdist", "awkward", "none")
USUAL = [
    QUICK,
    Case("root", "clone", "plain", "new"),
    Case("ordinary", "clone", "awkward", "old"),
    Case("root", "sdist", "plain", "none"),
    Case("ordinary", "clone", "plain", "new"),
]
ALL = [
    Case(*choice)
    for choice in itertools.product(
        ("root", "ordinary"), ("clone", "sdist"), ("plain", "awkward"), ("none", "old", "new")
    )
]


class Machine:
    """Holds what the cases of one call share: a folder, the sources, the ordinary user."""

    def __init__(self, base: Path) -> None:
        self.base = base
        base.chmod(0o755)
        self.logs = base / "logs"
        self.logs.mkdir()
        self.settings = pip_settings()
        self._archive: Path | None = None
        self._made_user = False

    def account(self, user: str) -> pwd.struct_passwd:
        """Returns that of the case's user; the ordinary one is made if there is none yet."""
        if user == "root" and os.getuid() != 0:
            raise CannotTry("needs root")
        if user == "root" or os.getuid() != 0:
            return pwd.getpwuid(os.getuid())
        with contextlib.suppress(KeyError):  # also one that a killed call left
            self._made_user = bool(pwd.getpwnam(USER))
        if not self._made_user:
            if not shutil.which("useradd", path=SYSTEM_PATH):
                raise CannotTry("no useradd here to make an ordinary user with")
            self.run("useradd", "--no-create-home", "--shell", "/bin/bash", USER)
            self._made_user = True
        return pwd.getpwnam(USER)

    def prepare(self, python: str) -> None:
        """Installs the system packages, which an ordinary user is told to ask for."""
        if shutil.which(python) is None:
            raise CannotTry("no such interpreter")
        if os.getuid() == 0:
            self.run(str(ROOT / ".ci" / "system-packages"), python)

    def put(self, source: str, folder: Path) -> None:
        """Puts a fresh clone or unpacked sdist there."""
        if source == "clone":
            if not (ROOT / ".git").exists():
                raise CannotTry("this folder is no git clone")
            # Without links: the clone's files become another user's.
            self.run("git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks",
                     str(ROOT), str(folder))  # fmt: skip
            return
        folder.mkdir(parents=True)
        archive = self._archive or self._pack()
        self.run("tar", "-xzf", str(archive), "--strip-components=1", "-C", str(folder))

    def _pack(self) -> Path:
        tools = self.base / "tools"
        self.run(sys.executable, "-m", "venv", str(tools))
        self.run(str(tools / "bin" / "python"), "-m", "pip", "install", "-q", "build")
        self.run(str(tools / "bin" / "python"), "-m", "build", "-q", "--sdist",
                  "-o", str(self.base / "sdist"), str(ROOT))  # fmt: skip
        (self._archive,) = (self.base / "sdist").glob("*.tar.gz")
        return self._archive

    def run(self, *command: str) -> None:
        done = subprocess.run(
            command, env={**os.environ, "PATH": SYSTEM_PATH}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")

    def close(self) -> None:
        """Removes the user, once the last process of theirs that was ended is gone."""
        command = ["env", f"PATH={SYSTEM_PATH}", "userdel", USER]
        for _ in range(300 if self._made_user else 0):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        if self._made_user:
            print(f"the user {USER} could not be removed: {done.stderr.strip()}")


def pip_settings() -> dict[str, str]:
    """Returns this user's settings of pip as variables: the others' homes have none."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    settings = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.partition(".")
        if section in ("global", "install", ":env:") and value:
            settings["PIP_" + option.upper().replace("-", "_")] = str(ast.literal_eval(value))
    return {**settings, **{k: v for k, v in os.environ.items() if k.startswith("PIP_")}}


def make_environment(machine: Machine, case: Case, home: Path, cache: Path) -> dict[str, str]:
    """Makes the variables of a log-in, with the case's nvcc on PATH and the index for pip."""
    nvcc = shutil.which(os.environ.get("CUDACXX") or "nvcc")
    folders = [f for f in LOGIN_PATH.split(":") if not (Path(f) / "nvcc").exists()]
    environment = {k: v for k, v in os.environ.items() if k in KEPT} | machine.settings
    if case.nvcc != "none" and nvcc is None:
        raise CannotTry("no nvcc here")
    if case.nvcc == "new":
        folders = [str(Path(nvcc or "").parent), *LOGIN_PATH.split(":")]
    elif case.nvcc == "old":
        wrapper = home / "old nvcc" / "nvcc"
        wrapper.parent.mkdir()
        wrapper.write_text(OLD_NVCC.format(nvcc=shlex.quote(nvcc or "")))
        wrapper.chmod(0o755)
        folders.insert(0, str(wrapper.parent))
        environment["PLANET_CUDA"] = "AUTO"
    return environment | {
        "HOME": str(home),
        "PATH": ":".join(folders),
        "LANG": "C" if case.folder == "awkward" else "C.UTF-8",
        "PYTHON": case.python,
        "PIP_CACHE_DIR": str(cache),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def steps(
    folder: Path, venv: Path, elsewhere: Path, *, quick: bool
) -> Iterator[tuple[str, list[str], Path]]:
    """Yields name, command and working folder of each step."""
    python = str(venv / "bin" / "python")
    yield "make demo", ["make", "demo", f"DEMO={DEMO}", "EPISODES=1"], folder
    yield "make test", ["make", "test", f"PYTEST={TESTS}"], folder
    yield "planet doctor", [str(venv / "bin" / "planet"), "doctor"], elsewhere
    readme = (folder / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    code = "\n".join(block for block in blocks if "cuda" not in block)
    there = code.replace("runs/demo", f"{folder}/runs/demo")
    yield "README elsewhere", [python, "-c", there], elsewhere
    yield "README", [python, "-c", code], folder
    if not quick:
        yield "make gate", ["make", "gate", "GATE=--rehearse"], folder
        yield "make check", ["make", "check"], folder


def try_case(machine: Machine, case: Case, number: int, *, quick: bool) -> str:
    """Runs the steps; returns what went wrong, or nothing."""
    account = machine.account(case.user)
    machine.prepare(case.python)
    awkward = case.folder == "awkward"
    home = machine.base / (f"home {number}" if awkward else f"{number}")
    folder = home / (AWKWARD if awkward else "planet")
    venv = folder / ".venv"
    if awkward and case.nvcc == "none":
        folder = home / f"{AWKWARD}, it's $HOME"  # which no nvcc can read,
        venv = home / "it's a vénv"  # and no script of pip's
    cache = machine.base / f"downloads-{account.pw_name}"
    for new in (home, cache, home / "elsewhere"):
        new.mkdir(exist_ok=True)
    environment = make_environment(machine, case, home, cache) | {"USER": account.pw_name}
    environment["VENV"] = str(venv)
    machine.put(case.source, folder)
    other = None if account.pw_uid == os.getuid() else account
    if other is not None:
        machine.run("chown", "-hR", f"{other.pw_uid}:{other.pw_gid}", str(home), str(cache))
    for name, command, place in steps(folder, venv, home / "elsewhere", quick=quick):
        log = machine.logs / f"{number}-{name.replace(' ', '-')}.log"
        began = time.monotonic()
        status = run_step(command, place, environment, log, other)
        print(f"   {name}: {time.monotonic() - began:.0f} s", flush=True)
        if status:
            print(b"\n".join(log.read_bytes().splitlines()[-40:]).decode(errors="replace"))
            return f"{name} ended with {status}"
        wrong = check_output(case, name, log.read_text(encoding="utf-8", errors="replace"))
        if wrong:
            return wrong
    return ""


def run_step(
    command: list[str],
    place: Path,
    environment: dict[str, str],
    log: Path,
    account: pwd.struct_passwd | None,
) -> int:
    """Runs a command, as another user if one is given; returns its exit status."""
    identity = {}
    if account is not None:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [],
                    "umask": 0o077}  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=place, env=environment, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **identity,
        )  # fmt: skip
    try:
        return process.wait()
    except BaseException:  # this call is ended: so are make and its children
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def check_output(case: Case, name: str, text: str) -> str:
    """Says what a step left unsaid that it must say; its exit status was 0."""
    if name == "planet doctor" and case.nvcc == "old" and "for 80-real " not in text:
        return "doctor does not name the kernels of the old nvcc"
    if name == "make test" and not re.search(r"\b[1-9]\d* passed", text):
        return "make test ran no test"
    return ""


def main() -> None:
    """Runs the cases and exits with 1 if one failed."""
    parser = argparse.ArgumentParser(description="Tries planet as newcomers meet it.")
    parser.add_argument("--quick", action="store_true", help="one case: what CI runs")
    parser.add_argument("--all", action="store_true", help="every combination, hours")
    parser.add_argument("--python", action="append", default=[], help="also this interpreter")
    parser.add_argument("--only", default="", help="cases with all these words, as 'clone old'")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    options = parser.parse_args()
    cases = [QUICK] if options.quick else ALL if options.all else USUAL
    for python in options.python:
        user = "root" if os.getuid() == 0 else "ordinary"
        cases = [*cases, Case(user, "clone", "plain", "none", python)]
    cases = [case for case in cases if set(options.only.split()) <= set(str(case).split())]
    if not cases:
        sys.exit(f"--only: expected words of a case, as 'clone old', got '{options.only}'")
    for number in (signal.SIGTERM, signal.SIGHUP):  # as for Ctrl-C: the user is removed
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    rows, failed, tried = [], False, False
    base = Path(tempfile.mkdtemp(prefix="planet-first-steps-"))
    machine = Machine(base)
    try:
        for number, case in enumerate(cases):
            print(f"== {case}", flush=True)
            began = time.monotonic()
            try:
                wrong = try_case(machine, case, number, quick=options.quick)
                result = f"FAILED: {wrong}" if wrong else "ok"
                failed, tried = failed or bool(wrong), True
            except CannotTry as reason:
                result = f"not tried: {reason}"
            rows.append(f"{case!s:60} {time.monotonic() - began:4.0f} s  {result}")
    finally:
        machine.close()
        if options.keep or failed:
            print(f"folders and logs are kept in {base}")
        else:
            shutil.rmtree(base)
    print("\n".join(["", "first steps", *rows]))
    sys.exit(failed or not tried)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
