"""Does damage of every kind to every kind of file in a run's directory."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from planet.storage.atomic import is_temporary

Damage = Callable[[Path, Path, random.Random], None]
"""Damages a file, given the same file of another run (which may be missing)."""


def damage(directory: Path, other: Path, generator: random.Random) -> str:
    """Damages one file of a run.

    Args:
      directory: of the run.
      other: of a run of the same settings and another seed.
      generator: decides the file and the damage.

    Returns:
      the kind of file and of damage.
    """
    kinds = _files(directory)
    kind = generator.choice([*sorted(kinds), "stray"])
    if kind == "stray":
        return f"stray: {_stray(directory, other, generator)}"
    path = generator.choice(kinds[kind])
    names = [*DAMAGES, *(LINE_DAMAGES if kind in ("metrics", "config") else {})]
    name = generator.choice(names)
    (DAMAGES | LINE_DAMAGES)[name](path, other / path.relative_to(directory), generator)
    return f"{kind}: {name}"


def _files(directory: Path) -> dict[str, list[Path]]:
    """Sorts the run's files by kind; a file that no rule knows is a kind of its own."""
    kinds: dict[str, list[Path]] = {}
    files = (path for path in directory.rglob("*") if path.is_file())
    for path in sorted(path for path in files if not is_temporary(path.name)):  # those are strays
        name = path.relative_to(directory)
        kind = name.parts[0] if len(name.parts) > 1 else name.stem
        kinds.setdefault(kind, []).append(path)
    return kinds


def _delete(path: Path, other: Path, generator: random.Random) -> None:
    path.unlink()


def _cut(path: Path, other: Path, generator: random.Random) -> None:
    os.truncate(path, generator.randrange(path.stat().st_size + 1))


def _empty(path: Path, other: Path, generator: random.Random) -> None:
    os.truncate(path, 0)


def _flip(path: Path, other: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def _zero(path: Path, other: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    first, last = sorted(generator.randrange(len(content) + 1) for _ in range(2))
    content[first:last] = bytes(last - first)
    path.write_bytes(content)


def _zero_whole(path: Path, other: Path, generator: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _noise(path: Path, other: Path, generator: random.Random) -> None:
    content = bytearray(path.read_bytes())
    first = generator.randrange(len(content) + 1)
    content[first : first + 64] = generator.randbytes(64)
    path.write_bytes(content)


def _append(path: Path, other: Path, generator: random.Random) -> None:
    with open(path, "ab") as file:
        file.write(generator.randbytes(generator.randrange(1, 200)))


def _swap(path: Path, other: Path, generator: random.Random) -> None:
    if other.is_file():
        shutil.copyfile(other, path)
    else:
        path.write_bytes(b"another run's")


def _directory(path: Path, other: Path, generator: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, other: Path, generator: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _dangling(path: Path, other: Path, generator: random.Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _link(path: Path, other: Path, generator: random.Random) -> None:
    moved = path.with_name(path.name + ".moved")
    path.rename(moved)
    path.symlink_to(moved.name)


def _lose_line(path: Path, other: Path, generator: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[generator.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def _double_line(path: Path, other: Path, generator: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    index = generator.randrange(len(lines))
    lines.insert(index, lines[index])
    path.write_bytes(b"".join(lines))


def _windows(path: Path, other: Path, generator: random.Random) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


def _other_encoding(path: Path, other: Path, generator: random.Random) -> None:
    path.write_bytes(path.read_text().encode(generator.choice(["utf-16", "utf-32"])))


def _digit(path: Path, other: Path, generator: random.Random) -> None:
    """Writes another number, which no parser can see."""
    content = bytearray(path.read_bytes())
    places = [index for index, byte in enumerate(content) if chr(byte).isdigit()]
    content[generator.choice(places)] = ord(generator.choice("123456789"))
    path.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "deleted": _delete, "cut": _cut, "emptied": _empty, "bit flipped": _flip, "part zeroed": _zero,
    "zeroed": _zero_whole, "part overwritten": _noise, "lengthened": _append,
    "another run's": _swap, "a directory": _directory, "a pipe": _pipe,
    "a dangling link": _dangling, "a link": _link,
}  # fmt: skip
LINE_DAMAGES: dict[str, Damage] = {
    "line lost": _lose_line, "line doubled": _double_line, "Windows' line ends": _windows,
    "another encoding": _other_encoding, "another digit": _digit,
}  # fmt: skip


STRAYS = (
    "temporary", "old temporary", "episode", "strange name", "folder removed", "exchanged",
)  # fmt: skip


def _stray(directory: Path, other: Path, generator: random.Random) -> str:
    """Adds a file, or removes a folder, or exchanges two files."""
    what = generator.choice(STRAYS)
    episodes = sorted((directory / "episodes").iterdir())
    if what == "temporary":
        folder = generator.choice([directory, directory / "episodes", directory / "tensorboard"])
        (folder / f".planet-{generator.randbytes(8).hex()}.tmp").write_bytes(b"half")
    elif what == "old temporary":
        (directory / generator.choice(["checkpoint.pt.tmp", "metrics.jsonl.tmp"])).write_bytes(b"")
    elif what == "episode":
        source = other / "episodes" / episodes[0].name
        shutil.copyfile(source, directory / "episodes" / f"episode-{len(episodes):06d}.planet")
    elif what == "strange name":
        name = generator.choice(["notes \n\u00fc.txt", "x.planet", "-rf", ".hidden"])
        generator.choice([directory, directory / "episodes"]).joinpath(name).write_bytes(b"mine")
    elif what == "folder removed":
        shutil.rmtree(directory / generator.choice(["episodes", "tensorboard"]))
    else:
        first, second = generator.sample(episodes, 2)
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
    return what
