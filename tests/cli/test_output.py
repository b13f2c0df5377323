"""Commands whose output goes nowhere, and signals: exit status and what is saved."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_run import train

pytest.importorskip("tyro", reason="the command line needs the train extra")
pytest.importorskip("gymnasium", reason="the command line needs the train extra")

from planet.cli import main, output
from planet.cli.progress import make_progress
from planet.cli.signals import ending_signals
from planet.storage.checkpoint import load_checkpoint
from planet.training.progress import guarded

# An environment that acts in its tenth step, within the first evaluation or before.
PROGRAM = """
import contextlib, ctypes, os, signal, sys, time
import planet.cli.train as command
from planet.cli import main
make = command.make_environment
def act():
    with contextlib.suppress(OSError):
        os.write(1, b"stepping\\n")
    {act}
def acting(config):
    environment = make(config)
    step, left = environment.step, [15]
    def counted(action):
        left[0] -= 1
        if not left[0]:
            act()
        return step(action)
    environment.step = counted
    return environment
command.make_environment = acting
raise SystemExit(main(sys.argv[1:]))
"""


def start(directory: Path, act: str = "pass", *more: str, **options: Any) -> subprocess.Popen[str]:
    def defaults() -> None:
        """As at a terminal; in the background, or under nohup, some are ignored."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(act=act), *train(directory, *more)],
        text=True, preexec_fn=defaults,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options),
    )  # fmt: skip


def wait_for(stream: Any, text: str) -> str:
    """Reads lines up to one with the text; the end of the stream is a failure."""
    seen = ""
    while text not in seen:
        line = stream.readline()
        assert line, seen
        seen += line
    return seen


def reported(pid: int | str, name: str) -> str:
    """Returns what the kernel says about a process, under a name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def catches_sigint(mask: str) -> bool:
    return bool(int(mask, 16) & 1 << signal.SIGINT - 1)


def wait_for_status(
    process: subprocess.Popen[str], name: str, holds: Callable[[str], bool]
) -> None:
    while process.poll() is None:
        if holds(reported(process.pid, name)):
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def test_a_signal_saves_and_has_its_status(tmp_path: Path) -> None:
    """With a long interval, and nobody who reads the output."""
    reading, writing = os.pipe()
    act = "os.kill(os.getpid(), signal.SIGHUP)"
    process = start(tmp_path, act, "--train.checkpoint-interval", "100", stdout=writing)
    os.close(writing)
    os.close(reading)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 129, errors
    assert "Traceback" not in errors and "Exception ignored" not in errors
    assert "progress cannot be shown any more (BrokenPipeError" in errors
    assert "stopped and saved: 2 episodes, 5 updates; continue with:" in errors
    assert load_checkpoint(tmp_path / "checkpoint.pt")["learner"]["updates"] == 5


def test_the_second_control_c_ends_a_step_that_hangs(tmp_path: Path) -> None:
    process = start(tmp_path, "while True: time.sleep(0.01)")
    wait_for(process.stdout, "stepping")
    process.send_signal(signal.SIGINT)
    wait_for(process.stderr, "Ctrl-C once more ends at once")
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert load_checkpoint(tmp_path / "checkpoint.pt")["learner"]["updates"] == 5
    process.communicate()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_the_second_control_c_ends_even_what_runs_no_python(tmp_path: Path) -> None:
    """A mutex that is locked twice, by a call that keeps the interpreter's lock."""
    deadlock = "m = ctypes.create_string_buffer(64); f = ctypes.PyDLL(None).pthread_mutex_lock; "
    process = start(tmp_path, deadlock + "f(m); f(m)")
    wait_for(process.stdout, "stepping")
    wait_for_status(process, "State", lambda state: state.startswith("S"))  # it is locked
    process.send_signal(signal.SIGINT)
    # The kernel calls the handler, and so forgets it.
    wait_for_status(process, "SigCgt", lambda mask: not catches_sigint(mask))
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == -signal.SIGINT
    load_checkpoint(tmp_path / "checkpoint.pt")
    process.communicate()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_the_program_s_own_handler_of_control_c_stays_for_good() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with ending_signals(heard.append):
            os.kill(os.getpid(), signal.SIGINT)
            assert heard == [signal.SIGINT] and catches_sigint(reported("self", "SigCgt"))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_without_standard_streams_ends_as_it_should(tmp_path: Path) -> None:
    arguments = train(tmp_path / "run", "--train.episodes", "2")
    command = [sys.executable, "-m", "planet", *arguments]
    done = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command], check=False)
    assert done.returncode == 0
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt")["episodes"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_output_is_a_status_and_no_traceback() -> None:
    command = [sys.executable, "-m", "planet", "--version"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["doctor"]])
def test_what_cannot_be_shown_is_a_status_whether_or_not_python_buffers(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = SimpleNamespace(text=lambda: "all is well", healthy=True)
    monkeypatch.setattr("planet.cli.doctor.examine", lambda: report)
    with open("/dev/full", "w") as buffered, open("/dev/full", "wb", buffering=0) as raw:
        unbuffered = io.TextIOWrapper(raw, write_through=True)
        for stream in (None, buffered, unbuffered):  # None: closed by the caller
            monkeypatch.setattr(sys, "stdout", stream)
            assert main(arguments) == 1


def test_a_run_whose_output_was_closed_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    output.prepare_streams()
    progress = guarded(make_progress())
    progress.message("text")
    assert progress.broken


@pytest.mark.parametrize(
    ("encoding", "name", "shown"),
    [("ascii", "M\xfcller", rb"M\xfcller"), ("utf-8", os.fsdecode(b"\xff"), rb"\udcff")],
)
def test_characters_that_the_output_s_encoding_lacks_are_escaped(
    encoding: str, name: str, shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    output.prepare_streams()
    assert output.say(name)
    assert written.getvalue() == shown + b"\n"


def test_a_file_is_not_opened_in_the_place_of_a_closed_stream() -> None:
    kept = os.dup(1)
    try:
        os.close(1)
        output.prepare_streams()
        assert os.path.samestat(os.fstat(1), os.stat(os.devnull))
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("64 GiB"), "planet export: out of memory: 64 GiB"),
        (RuntimeError("CPU: can't allocate memory: 9"), "planet export: out of memory: CPU"),
        (RuntimeError("Storage size calculation overflowed"), "out of memory: Storage size"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid start byte"),
        (RecursionError("too deep"), "planet export: too deep"),
        (TypeError("seed: expected an int"), "planet export: seed: expected an int"),
    ],
)
def test_mistakes_and_limits_are_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setattr("planet.cli.export.run", fail)
    assert main(["export"]) == 1
    captured = capsys.readouterr().err
    assert said in captured and "Traceback" not in captured


def test_a_directory_in_use_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from planet.training.lock import RunLock

    lock = RunLock(tmp_path / "run.lock")
    assert main(train(tmp_path)) == 1
    assert f"is in use by another Trainer of this process {os.getpid()}" in capsys.readouterr().err
    lock.release()
