"""A run directory belongs to one trainer."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gymnasium", reason="the toy task is a gymnasium.Env")

from toy_runs import changed, make_trainer

from planet.config import Config
from planet.experiments.run import open_run
from planet.training.lock import DirectoryInUseError, RunLock

HOLDER = """
import sys
from pathlib import Path
from planet.training.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_with_pid_and_host_until_the_first_one_dies(
    tiny: Config, tmp_path: Path
) -> None:
    path = tmp_path / "run.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        owner = f"process {holder.pid} on host {socket.gethostname()}"
        with pytest.raises(DirectoryInUseError, match=f"in use by {owner}; wait") as caught:
            make_trainer(tiny, tmp_path)
        assert caught.value.owner == owner
        assert os.listdir(tmp_path) == ["run.lock"]  # nothing was written
    finally:
        holder.kill()
        holder.communicate()
    make_trainer(tiny, tmp_path).close()


def test_one_process_has_one_trainer_per_directory_and_readers_do_not_mind(
    tiny: Config, tmp_path: Path
) -> None:
    with make_trainer(tiny, tmp_path) as trainer:
        trainer.run()
        with pytest.raises(DirectoryInUseError, match=r"another Trainer .*\.close\(\) frees it"):
            make_trainer(tiny, tmp_path)
        assert open_run(tmp_path).episodes == 5
    for use in (trainer.run, trainer.save):
        with pytest.raises(RuntimeError, match="this trainer is closed"):
            use()
    make_trainer(tiny, tmp_path)  # dropped at once: the garbage collector frees it
    with pytest.raises(ValueError, match="other settings"):
        make_trainer(changed(tiny, seed=5), tmp_path)
    make_trainer(tiny, tmp_path)  # a refusal frees it, too


def test_a_forked_child_neither_keeps_the_lock_nor_writes(tiny: Config, tmp_path: Path) -> None:
    trainer = make_trainer(tiny, tmp_path)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        refused = 0
        for use in (trainer.run, trainer.save):
            try:
                use()
            except RuntimeError:
                refused += 1
        trainer.close()  # must not free the parent's lock
        os.write(writing, bytes([refused]))
        signal.pause()
        os._exit(0)
    try:
        assert os.read(reading, 1) == b"\2"
        with pytest.raises(DirectoryInUseError):
            make_trainer(tiny, tmp_path)
        trainer.close()
        make_trainer(tiny, tmp_path).close()  # though the child still lives
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_an_orphan_does_not_keep_the_lock_of_a_dead_process(tmp_path: Path) -> None:
    program = HOLDER.replace("print(", "import os\nif os.fork(): os._exit(1)\nprint(")
    done = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "run.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert done.stdout is not None and done.stdout.readline() == b"held\n"  # the orphan speaks
    assert done.wait() == 1
    RunLock(tmp_path / "run.lock").release()
    done.communicate()  # ends the orphan


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_said(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = RunLock(tmp_path / "run.lock")
    assert lock.held
    lock.release()
    assert not lock.held
    assert "this file system has no locks (no locks here)" in caplog.text


def test_a_planted_name_is_not_followed_and_not_waited_for(tmp_path: Path) -> None:
    path, other = tmp_path / "run.lock", tmp_path / "other"
    other.write_text("precious")
    path.symlink_to(other)
    for plant in (lambda: None, lambda: os.mkfifo(path), path.mkdir):
        plant()
        with pytest.raises(ValueError, match=r"run\.lock: expected a regular file.*remove it"):
            RunLock(path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert other.read_text() == "precious"


def test_a_lock_file_that_was_removed_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "run.lock", fcntl.flock

    def removing(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removing)
    lock = RunLock(path)
    with pytest.raises(DirectoryInUseError):
        RunLock(path)
    lock.release()
