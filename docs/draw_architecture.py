"""Draws docs/architecture.svg: the rooms of planet/, and the arrows that its imports make.

    python docs/draw_architecture.py            # writes the drawing
    python docs/draw_architecture.py --check    # fails where it is not what the code says

The tables of docs/architecture.md name the rooms; tests/test_imports.py reads them from here too.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PACKAGE = FOLDER.parent / "planet"
PAGE = FOLDER / "architecture.md"
DRAWING = FOLDER / "architecture.svg"
EVERY = "every room below"

Graph = dict[str, set[str]]
Arrow = tuple[str, str]


@dataclass(frozen=True)
class Room:
    """Holds a row of the page's tables.

    Attributes:
      name: of a folder of planet/ or a file on its ground; "planet" is the front door.
      holds: a few words.
      may_import: names of rooms.
      only: what some of its files may import beside that, by file name.
      ground: whether every room above the ground may import it.
    """

    name: str
    holds: str
    may_import: frozenset[str]
    only: dict[str, frozenset[str]]
    ground: bool


# ---- The page ------------------------------------------------------------------------------------


def rooms(page: str) -> list[Room]:
    """Reads the tables of rooms, from the roof to the ground."""
    rows = []
    for title, ground in (("Room", False), ("Ground", True)):
        table = re.search(rf"^\| {title} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.M)
        assert table, f"{PAGE.name} has no table of the column {title}"
        for line in table[1].splitlines():
            name, holds, may = (cell.strip() for cell in line.strip("|").split("|"))
            rows.append((name.strip("`"), holds.replace("`", ""), may, ground))
    names = [row[0] for row in rows]
    base = frozenset(name for name, *_, ground in rows if ground)
    found = []
    for i, (name, holds, may, ground) in enumerate(rows):
        first, *exceptions = may.split(";")
        general = frozenset(names[i + 1 :] if first == EVERY else _quoted(first))
        only = {
            file: frozenset(_quoted(imported))
            for files, imported in (text.split(":") for text in exceptions)
            for file in _quoted(files)
        }
        found.append(Room(name, holds, general if ground else general | base, only, ground))
    return found


def _quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# ---- The code ------------------------------------------------------------------------------------


def module_paths(package: Path = PACKAGE) -> dict[str, Path]:
    """Returns the file of every module."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = ["planet", *path.relative_to(package).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path = PACKAGE) -> Graph:
    """Returns the modules of planet that each module's import statements name, in functions too."""
    paths = module_paths(package)
    graph: Graph = {}
    for module, path in paths.items():
        graph[module] = named = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: imports are absolute"
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= {name if name in paths else str(node.module) for name in full}
        graph[module] = {name for name in named if name.split(".")[0] == "planet"} - {module}
    return graph


def room_of(module: str) -> str:
    """Names the room that a module is in."""
    parts = module.split(".")
    return "planet" if parts[1:] in ([], ["__main__"]) else parts[1]


def room_arrows(graph: Graph) -> set[Arrow]:
    """Returns (importing room, imported room) of all imports."""
    pairs = {(room_of(module), room_of(name)) for module in graph for name in graph[module]}
    return {(above, below) for above, below in pairs if above != below and below != "_C"}


def without_detours(arrows: set[Arrow]) -> set[Arrow]:
    """Leaves out arrows that follow from longer ways; the arrows make no circle."""
    below: Graph = {}
    for one, other in arrows:
        below.setdefault(one, set()).add(other)

    def reached(room: str) -> set[str]:
        return set().union(*({b} | reached(b) for b in below.get(room, ())))

    return {
        (one, other)
        for one, other in arrows
        if not any(other in reached(b) for b in below[one] - {other})
    }


# ---- The drawing ---------------------------------------------------------------------------------

WIDTH, HEIGHT, GAP, RISE, MARGIN = 184, 46, 26, 92, 24  # of boxes and between them
STYLE = """
text { font: 13px system-ui, sans-serif; text-anchor: middle; fill: #1f2933 }
.name { font-weight: 600; font-size: 15px }
rect { fill: #e8f0fb; stroke: #3b6ea8 }
.ground { fill: #eef2ee; stroke: #6b8f71 }
.native { fill: #fbf0e3; stroke: #b5762a }
.sheet { fill: white; stroke: none }
path { fill: none; stroke: #52606d; stroke-width: 1.3; marker-end: url(#tip) }
"""
NATIVE = {"bindings": "C++ that knows torch", "csrc": "C++ and CUDA kernels"}
NATIVE_ARROWS = {("ops", "bindings"), ("bindings", "csrc")}  # ops/extension.py loads planet._C


def floors(arrows: set[Arrow]) -> dict[str, int]:
    """Puts each room one floor below the lowest that imports it; 0 is the roof."""
    found: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in found:
            found[room] = 1 + max((floor(a) for a, b in arrows if b == room), default=-1)
        return found[room]

    for room in sorted({room for arrow in arrows for room in arrow}):
        floor(room)
    return found


def layers(arrows: set[Arrow], floor: dict[str, int]) -> tuple[list[list[str]], list[list[str]]]:
    """Orders the rooms of each floor so that few arrows cross.

    Returns:
      Names per floor, with a place "above>below@floor" where an arrow passes by; and each arrow's
      way through them.
    """
    ways = []
    for one, other in sorted(arrows):
        passed = range(floor[one] + 1, floor[other])
        ways.append([one, *(f"{one}>{other}@{level}" for level in passed), other])
    found: list[list[str]] = [[] for _ in range(max(floor.values()) + 1)]
    for name in sorted(floor):
        found[floor[name]].append(name)
    for way in ways:
        for i, name in enumerate(way[1:-1], 1):
            found[floor[way[0]] + i].append(name)
    joined: dict[str, set[str]] = {}
    for way in ways:
        for one, other in zip(way, way[1:], strict=False):
            joined.setdefault(one, set()).add(other)
            joined.setdefault(other, set()).add(one)
    for _ in range(24):
        for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
            for level in order:
                where = _places(found)
                found[level].sort(key=lambda n: (_mean(where[o] for o in joined.get(n, ())), n))
    return found, ways


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0


def _places(found: list[list[str]]) -> dict[str, float]:
    """Returns the middle of every place, floors centred on 0."""
    where = {}
    for floor in found:
        widths = [GAP if ">" in name else WIDTH + GAP for name in floor]
        left = -sum(widths) / 2
        for name, width in zip(floor, widths, strict=True):
            where[name] = left + width / 2
            left += width
    return where


def draw(table: list[Room], graph: Graph) -> str:
    """Returns the drawing as SVG.

    Raises:
      ValueError: an arrow points up, or to a room that the page does not name.
    """
    arrows = room_arrows(graph)
    order = [room.name for room in table]
    up = arrows - {(above, below) for i, above in enumerate(order) for below in order[i + 1 :]}
    if up:
        raise ValueError(f"arrows that point up or to unknown rooms: {sorted(up)}")
    ground = [room.name for room in table if room.ground]
    holds = {room.name: room.holds for room in table} | NATIVE
    arrows = {a for a in arrows if not {*a} & {*ground}}
    arrows = without_detours(arrows | NATIVE_ARROWS)
    levels = floors(arrows)
    found, ways = layers(arrows, levels)
    places = _places(found)
    half = max(max(map(abs, places.values())) + WIDTH / 2, 3 * (WIDTH + GAP) / 2) + MARGIN
    base = MARGIN + RISE * len(found)
    height = base + 2 * (HEIGHT + GAP / 2) + MARGIN

    def top(name: str) -> float:
        return MARGIN + RISE * (levels[name] if name in levels else int(name.partition("@")[2]))

    parts = []
    for way in ways:
        edges = [(places[name] + half, top(name) + HEIGHT * low) for name in way for low in (0, 1)]
        parts.append(_way(edges[1:-1]))  # neither the first box's top nor the last one's bottom
    parts += [
        _box(name, holds[name], places[name] + half, top(name), "native" if name in NATIVE else "")
        for name in sorted(levels)
    ]
    for i, name in enumerate(ground):
        x = half + (i % 3 - 1) * (WIDTH + GAP)
        parts.append(_box(name, holds[name], x, base + i // 3 * (HEIGHT + GAP / 2), "ground"))
    size = f'width="{2 * half:g}" height="{height:g}" viewBox="0 0 {2 * half:g} {height:g}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{STYLE}</style>",
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><polygon points="0,0.5 8,4 0,7.5" fill="#52606d"/></marker>',
        '<rect class="sheet" width="100%" height="100%"/>', *parts, "</svg>\n",
    ])  # fmt: skip


def _box(name: str, holds: str, x: float, y: float, kind: str) -> str:
    size = f'width="{WIDTH}" height="{HEIGHT}" rx="6"'
    return (
        f'<rect class="{kind}" x="{x - WIDTH / 2:g}" y="{y:g}" {size}/>'
        f'<text class="name" x="{x:g}" y="{y + 19:g}">{escape(name)}</text>'
        f'<text x="{x:g}" y="{y + 37:g}">{escape(holds)}</text>'
    )


def _way(points: list[tuple[float, float]]) -> str:
    """Draws an arrow: bent from floor to floor, straight where it passes one."""
    text = "M{:g},{:g}".format(*points[0])
    for i, ((x, y), (u, v)) in enumerate(zip(points, points[1:], strict=False)):
        bend = (v - y) / 2
        curve = f" C{x:g},{y + bend:g} {u:g},{v - bend:g} {u:g},{v:g}"
        text += f" L{u:g},{v:g}" if i % 2 else curve
    return f'<path d="{text}"/>'


def main() -> None:
    """Writes the drawing, or compares it."""
    parser = argparse.ArgumentParser(description="Draw the rooms of planet/.")
    parser.add_argument(
        "--check", action="store_true", help="compare with the drawing that is there"
    )
    drawing = draw(rooms(PAGE.read_text(encoding="utf-8")), imports())
    if not parser.parse_args().check:
        DRAWING.write_text(drawing, encoding="utf-8")
    elif not DRAWING.exists() or DRAWING.read_text(encoding="utf-8") != drawing:
        sys.exit(f"{DRAWING.name} is not what the code says: run python docs/{Path(__file__).name}")


if __name__ == "__main__":
    main()
