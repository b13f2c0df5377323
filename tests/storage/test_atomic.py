"""Kills processes (SIGKILL) while they write; what they leave must be whole."""

import errno
import json
import os
import re
import resource
import socket
import stat
from pathlib import Path

import pytest
from processes import python, variables

from planet.storage import atomic
from planet.storage.atomic import atomic_write, open_regular, read_file, replaceable

# The child of each round writes generation after generation of the same file, every number in it
# being the generation; the parent kills it and reads. Forked, so that torch is imported once.
PROGRAM = """
import json, os, random, signal, sys, time
import numpy as np
import torch
from planet.storage.checkpoint import load_checkpoint, save_checkpoint
from planet.replay import Episode, ReplayBuffer, read_episode
from planet.training.metrics import MetricsWriter, read_metrics

kind, stages = sys.argv[1], json.loads(sys.argv[2])

def write_episode(generation):
    action = np.full((100, 6), generation, np.float32)
    reward = np.full(100, generation, np.float32)
    action[0] = reward[0] = 0
    pixels = np.full((100, 64, 64, 3), generation % 256, np.uint8)
    episode = Episode({"image": pixels}, action, reward, np.zeros(100, bool))
    ReplayBuffer(directory).add(episode, 0)

def read_replay():
    buffer = ReplayBuffer(directory)
    assert not buffer.skipped, buffer.skipped
    if not buffer.episodes:
        return None
    chunk = buffer.sample(2, 50, np.random.default_rng(0))
    generation = int(chunk.reward[-1, 0])
    assert (chunk.observation['image'] == generation % 256).all()
    return generation

def write_checkpoint(generation):
    save_checkpoint(directory + "/c.pt", {"a": torch.full((300_000,), generation), "b": generation})

def read_checkpoint():
    if not os.path.exists(directory + "/c.pt"):
        return None
    payload = load_checkpoint(directory + "/c.pt")
    assert (payload["a"] == payload["b"]).all()
    return payload["b"]

def write_metrics(generation):
    writer = MetricsWriter(directory, tensorboard=False)
    kept = max(0, (read_lines() or 0) - generation % 3)
    writer.go_back(kept)
    for number in range(kept + 1, kept + 5):
        writer.write({"line": number}, {"x/" + "x" * 2000: generation})

def read_lines():
    if not os.path.exists(directory + "/metrics.jsonl"):
        return None
    numbers = [line["line"] for line in read_metrics(directory)]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    return len(numbers)

write, read = {
    "episode": (write_episode, read_replay),
    "checkpoint": (write_checkpoint, read_checkpoint),
    "metrics": (write_metrics, read_lines),
}[kind]

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def child(generation):
    if stage == "any":
        while True:
            write(generation)
            os.write(written, b".")
            generation += 1
    original = os.replace
    if stage == "renamed":
        os.replace = lambda *arguments: (original(*arguments), die())
    else:
        setattr(os, stage, die)
    write(generation)

random.seed(0)
seen_writes, written = os.pipe()
seen = {}
for stage in stages:
    directory = os.path.join(sys.argv[3], stage)
    os.mkdir(directory)
    if stage != "any":
        write(1)
    found = seen[stage] = [read()]
    for _ in range(20 if stage == "any" else 1):
        process = os.fork()
        if process == 0:
            try:
                child((found[-1] or 0) + 1)
            finally:
                os._exit(1)
        if stage == "any":  # once it has written, at any moment of the next generations
            for _ in range(random.randint(1, 3)):
                assert os.read(seen_writes, 1)
            time.sleep(random.uniform(0, 0.01))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status), status
        found.append(read())
print(json.dumps(seen))
"""


def killed_writers(kind: str, stages: list[str], directory: Path) -> dict[str, list[int | None]]:
    """Returns the generations found before the first and after each kill, by stage."""
    done = python("-c", PROGRAM, kind, json.dumps(stages), directory, env=variables())
    seen: dict[str, list[int | None]] = json.loads(done.stdout)
    return seen


def test_lines_are_whole_after_a_kill_at_any_time(tmp_path: Path) -> None:
    killed_writers("metrics", ["any"], tmp_path)


@pytest.mark.parametrize("kind", ["episode", "checkpoint"])
def test_kill_at_any_time_and_at_each_stage_leaves_the_old_file_or_the_new(
    tmp_path: Path, kind: str
) -> None:
    expected = {"fsync": 1, "replace": 1, "renamed": 2}
    seen = killed_writers(kind, ["any", *expected], tmp_path)
    found = [generation for generation in seen.pop("any") if generation is not None]
    assert found == sorted(found) and found[-1] >= 20
    assert seen == {stage: [1, generation] for stage, generation in expected.items()}
    for stage in expected:
        assert len(list((tmp_path / stage).rglob("*.tmp"))) == (stage != "renamed")


def write(path: Path, content: bytes = b"new") -> None:
    with atomic_write(path) as file:
        file.write(content)


def test_a_file_is_replaced_when_the_block_ends_and_kept_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        write(path, content)
        assert path.read_bytes() == content
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]


def test_a_directory_that_is_missing_or_cannot_be_read_is_found_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        replaceable(tmp_path / "absent" / "file")
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.R_OK)
    with pytest.raises(PermissionError, match=f"cannot be written: '{tmp_path / 'file'}'"):
        write(tmp_path / "file")


def test_links_stay_and_their_targets_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    link.symlink_to("disk/target")
    for content in (b"first", b"second"):  # the link dangles at first
        write(link, content)
        assert link.is_symlink() and target.read_bytes() == content
    assert os.listdir(tmp_path / "disk") == ["target"]
    (tmp_path / "folder").symlink_to("disk")
    write(tmp_path / "folder" / "target", b"third")
    assert target.read_bytes() == b"third" and (tmp_path / "folder").is_symlink()


def test_links_in_a_circle_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "a"))) as error:
        write(tmp_path / "a")
    assert error.value.errno == errno.ELOOP


def test_only_regular_files_are_replaced_or_read(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("pipe")
    kinds = {"directory": "a directory", "pipe": "a named pipe", "socket": "a socket",
             "link": "a named pipe"}  # fmt: skip
    before = sorted(os.listdir(tmp_path))
    for path, kind in [*((tmp_path / name, kind) for name, kind in kinds.items()),
                       (Path("/dev/null"), "a character device")]:  # fmt: skip
        for refuse in (write, replaceable, read_file, open_regular):
            message = re.escape(f"{path}: expected a regular file, got {kind}")
            with pytest.raises(ValueError, match=message):
                refuse(path)
    assert sorted(os.listdir(tmp_path)) == before


def test_mode_is_what_the_umask_leaves_and_then_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for mode in (0o600, 0o644, 0o400, 0o775):
        path.chmod(mode)
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_owner_is_kept_or_the_group_gets_no_more_than_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o664)
    old = os.lstat(path)
    theirs = os.stat_result([*old[:4], old.st_uid + 1, old.st_gid + 1, *old[6:]])
    lstat, given = os.lstat, []
    monkeypatch.setattr(os, "lstat", lambda p: theirs if Path(p) == path else lstat(p))
    monkeypatch.setattr(os, "fchown", lambda descriptor, *owner: given.append(owner))
    write(path)
    assert given == [(theirs.st_uid, theirs.st_gid)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o664

    def refuse(descriptor: int, *owner: int) -> None:
        raise PermissionError(errno.EPERM, "not the owner")

    monkeypatch.setattr(os, "fchown", refuse)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_planted_temporaries_are_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda size: "0" * 2 * size)
    planted = tmp_path / f".planet-{'0' * 16}.tmp"
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError, match=re.escape(str(tmp_path / "file"))):
        write(tmp_path / "file")
    assert victim.read_bytes() == b"mine"


def test_temporary_names_differ(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file") as first, atomic_write(tmp_path / "file") as second:
        names = set(os.listdir(tmp_path))
        assert len(names) == 2 and all(map(atomic.is_temporary, names))
        first.write(b"1")
        second.write(b"2")
    assert (tmp_path / "file").read_bytes() == b"1"  # the outer block ends last


@pytest.mark.parametrize("name", ["x" * 255, "\u00fc \n'", "-"])
def test_any_name_that_a_file_can_have_will_do(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_temporaries_of_the_dead_are_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = f".planet-{'0a' * 8}.tmp"
    kept = [".planet-12.tmp", "file.tmp", f"x{dead}", ".planet-0123456789ABCDEF.tmp"]
    for name in [dead, *kept]:
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / f".planet-{'1' * 16}.tmp").mkdir()
    (tmp_path / f".planet-{'2' * 16}.tmp").symlink_to(kept[0])
    assert atomic.remove_temporaries(tmp_path) == [dead]
    assert len(os.listdir(tmp_path)) == len(kept) + 2


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_calls_that_a_file_system_does_not_have_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fsync = os.fsync

    def refuse(descriptor: int, *more: int) -> None:
        if more or stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    for name in ("fsync", "fchmod", "fchown"):
        monkeypatch.setattr(os, name, refuse)
    for content in (b"old", b"new"):
        write(tmp_path / "file", content)
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("call", ["open", "fdopen", "fsync", "fchmod", "replace"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_every_failure_names_the_file_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="/file") as error:
        patch.setattr(os, call, fail)
        write(path)
    assert error.value.errno == code and str(error.value).count(str(path)) == 1
    assert "None" not in str(error.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "file"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        for size in (2000, 2_000_000):  # found by flush, and by write
            with pytest.raises(OSError, match=re.escape(f"File too large: '{path}'")):
                write(path, b"x" * size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not os.listdir(tmp_path)


def test_errors_without_a_number_are_named(tmp_path: Path) -> None:
    message = re.escape(f"{tmp_path / 'file'}: no")
    with pytest.raises(OSError, match=message), atomic_write(tmp_path / "file"):
        raise OSError("no")
