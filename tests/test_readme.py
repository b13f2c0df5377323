"""The documents' examples run as printed, and the commands they name exist with those options."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from conftest import FUSED_MISSING, fused_is_built
from processes import python, run
from small_run import train

from planet import cli
from planet.cli import main
from planet.config import Config
from planet.diagnostics.packages import is_installed

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md", "CONTRIBUTING.md", "benchmarks/README.md", "emulator/README.md",
    "examples/cpp/README.md",
)  # fmt: skip
# What the examples expect of `make demo`'s run: its task and its pictures.
DEMO = [
    "--task", "cheetah-run", "--environment.image-size", "32", "--environment.render-size", "64",
    "--environment.control-steps", "40", "--imagination.backend", "fused", "--train.episodes", "2",
    "--train.evaluation-interval", "0",
]  # fmt: skip

pytestmark = pytest.mark.skipif(
    not all((ROOT / name).exists() for name in (*DOCUMENTS, "csrc")), reason="no source folder"
)
needs_extra = pytest.mark.skipif(
    not all(map(is_installed, ("tyro", "gymnasium", "dm_control"))),
    reason="these examples need the train extra",
)


def blocks(document: str, language: str) -> list[str]:
    """Fenced blocks of a language; "" is that of shell commands."""
    text = (ROOT / document).read_text()
    return [
        match[2]
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if match[1] == language
    ]


# --- Python --------------------------------------------------------------------------------------


def python_of(document: str, on_cuda: bool = torch.cuda.is_available()) -> list[str]:
    """Python blocks of a document, which build on each other; those for CUDA where there is one."""
    return [block for block in blocks(document, "python") if on_cuda or '"cuda"' not in block]


WITH_PYTHON = [
    name
    for name in (*DOCUMENTS, *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md"))))
    if blocks(name, "python")
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source folder without an extension of its own, with a run as `make demo` leaves it."""
    if not fused_is_built():
        pytest.skip(FUSED_MISSING)
    folder = tmp_path_factory.mktemp("a clone") / "planet, später"
    folder.mkdir()
    for name in ("pyproject.toml", "CMakeLists.txt", "csrc", "bindings", "cmake"):
        (folder / name).symlink_to(ROOT / name)
    package = folder / "planet"
    for path in (ROOT / "planet").rglob("*.py"):
        target = package / path.relative_to(ROOT / "planet")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert main(train(folder / "runs" / "demo", *DEMO)) == 0
    return folder


def run_in(folder: Path, *arguments: str, typed: str | None = None) -> str:
    done = python(
        *arguments, status=None, input=typed, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0 and "Error" not in done.stderr, done.stderr
    return done.stdout


@needs_extra
@pytest.mark.parametrize("document", WITH_PYTHON)
def test_the_examples_of_a_document_run_as_a_script(clone: Path, document: str) -> None:
    """Runs the source folder itself, with the installed extension."""
    where = "import planet.ops.extension as e; print(e.__file__, e.path())"
    (clone / "example.py").write_text("\n".join([*python_of(document), where]), encoding="utf-8")
    package, file = run_in(clone, "example.py").splitlines()[-1].rsplit(" ", 1)
    assert package == str(clone / "planet" / "ops" / "extension.py")
    assert not file.startswith(str(clone))


@needs_extra
def test_the_examples_run_when_they_are_pasted_into_a_repl(clone: Path) -> None:
    output = run_in(clone, "-i", "-q", typed="\n".join(python_of("README.md")))
    assert re.search(r"^return \d+\.\d$", output, re.MULTILINE)


def test_an_example_that_does_not_run_fails(clone: Path) -> None:
    for broken in (["-c", "undefined"], ["-i", "-q"]):
        with pytest.raises(AssertionError, match="NameError"):
            run_in(clone, *broken, typed="undefined\n")


@needs_extra
def test_the_command_runs_as_a_module(clone: Path) -> None:
    sizes = ["--planner.horizon=2", "--planner.candidates=8", "--planner.topk=2", "--steps=2"]
    assert "horizon 2, candidates 8" in run_in(clone, "-m", "planet", "profile", *sizes)


def test_changed_sources_are_noticed_and_both_places_named(clone: Path) -> None:
    changed = clone.parent / "changed"
    changed.mkdir()
    for path in clone.iterdir():
        (changed / path.name).symlink_to(path)
    (changed / "CMakeLists.txt").unlink()
    (changed / "CMakeLists.txt").write_text("# another\n")
    example = "import torch; from planet.ops import fused\n"
    example += "fused.refit(torch.ones(1, 1, 2, 1), torch.ones(1, 2), topk=1)"
    message = python("-c", example, status=1, cwd=changed).stderr.splitlines()[-1]
    assert f"the source folder {changed} hides the planet installed in" in message
    assert "built from other sources" in message and "pip install" in message


@pytest.mark.parametrize("document", WITH_PYTHON)
def test_all_examples_compile(document: str) -> None:
    for block in python_of(document, on_cuda=True):
        compile(block, document, "exec")


# --- shell ---------------------------------------------------------------------------------------


def commands_of(text: str) -> Iterator[list[str]]:
    """The commands in lines of a shell, without comments and placeholders."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        command: list[str] = []
        for word in [*words, "&&"]:
            if word in ("&&", "|"):
                if command:
                    yield command
                command = []
            elif not (re.fullmatch(r"\[\w+\]|\.\.\.", word) or (not command and "=" in word)):
                command.append(word)


def named_commands() -> list[tuple[str, list[str]]]:
    """All that the documents and the help propose: in blocks, and as code within a sentence."""
    found = []
    for document in DOCUMENTS:
        for block in blocks(document, ""):
            found += [(document, command) for command in commands_of(block)]
        prose = re.sub(r"^```.*?^```$", "", (ROOT / document).read_text(), flags=re.M | re.S)
        for code in re.findall(r"`([^`]+)`", prose):
            program = code.split()[0]
            if program in KNOWN and (" " in code or program == "planet doctor"):
                found += [(document, command) for command in commands_of(" ".join(code.split()))]
    for line in re.findall(r"^ +(planet .*)$", cli.HELP, re.MULTILINE):
        if "COMMAND" not in line:
            found += [("--help", command) for command in commands_of(line)]
    return found


def options_parse(arguments: list[str]) -> None:
    """`planet COMMAND ...`: its options are those of the command."""
    tyro = pytest.importorskip("tyro", reason="the command line needs the train extra")
    command, *rest = arguments
    assert command in cli.COMMANDS
    if command == "doctor":
        assert rest == []
    elif command == "train":
        from planet.cli.train import parse

        parse(rest if "--directory" in rest else [*rest, "--directory", "runs/a"])
    else:
        from planet.cli.options import with_planner

        module = __import__(f"planet.cli.{command}", fromlist=[command])
        words = [word.replace("RUN_DIR", "runs/a") for word in rest]
        words, config = with_planner(command, words, Config())
        options = getattr(module, f"{command.title()}Options")
        if any(field.name == "planner" for field in fields(options)):
            tyro.cli(options, args=words, default=options(run_dir=None, planner=config.planner))
        else:
            tyro.cli(options, args=words)


def target_exists(arguments: list[str]) -> None:
    """`make TARGET`."""
    run("make", "-n", *arguments, cwd=ROOT)


def pip_takes(arguments: list[str]) -> None:
    """`pip install ...`: options are pip's, extras are the project's."""
    pytest.importorskip("pip", reason="this Python has no pip")
    from pip._internal.commands import create_command

    name, *rest = arguments
    _, requirements = create_command(name).parse_args(rest)
    declared = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r"^\.\[(.*)\]$", "\n".join(requirements), re.MULTILINE):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", declared, re.MULTILINE), extra


def test_commands_are_for_the_pip_of_debian_12_too() -> None:
    """It is 23.0, and a virtual environment starts with it."""
    newer = {"-C", "--group"}
    scripts = [
        *(ROOT / name for name in (*DOCUMENTS, "Makefile")),
        *(p for p in (ROOT / ".ci").iterdir() if p.is_file()),
        *(p for kind in ("*.py", "*.sh") for p in (ROOT / "benchmarks").rglob(kind)),
    ]
    calls = [
        match[0].replace("\\\n", " ")
        for path in scripts
        for match in re.finditer(r"\bpip (install|wheel)\b(.*\\\n)*.*", path.read_text())
    ]
    assert len(calls) > 10
    assert [call for call in calls if newer & set(call.split())] == []


def definitions_exist(arguments: list[str]) -> None:
    """`cmake ...`: what -D defines is an option of the project or CMake's own."""
    options = "".join((ROOT / name).read_text() for name in CMAKE_FILES)
    for name in re.findall(r"-D(\w+)", " ".join(arguments)):
        assert name.startswith("CMAKE_") or name in options
    for folder in re.findall(r"-S (\S+)", " ".join(arguments)):
        assert (ROOT / folder / "CMakeLists.txt").exists()


def python_runs(arguments: list[str]) -> None:
    """`python FILE ...`, `python FOLDER ...` or `python -m MODULE`."""
    path = ROOT / arguments[0]
    assert arguments[0] in ("-m", "-c") or path.is_file() or (path / "__main__.py").is_file()


def is_present(arguments: list[str]) -> None:
    """Tools of others, whose commands need no check."""


CMAKE_FILES = ("CMakeLists.txt", "bindings/CMakeLists.txt", "examples/cpp/CMakeLists.txt")
KNOWN: dict[str, Callable[[list[str]], None]] = {
    "planet": options_parse,
    "make": target_exists,
    "pip": pip_takes,
    "cmake": definitions_exist,
    "python": python_runs,
    "python3": python_runs,
    **dict.fromkeys(("git", "cd", "pytest", ".", "uv", "pipx"), is_present),
}


def check(command: list[str]) -> None:
    program, *arguments = command
    name = program.rpartition("/")[2] if program.startswith(".venv/bin/") else program
    if name in KNOWN:
        KNOWN[name](arguments)
    elif name.startswith("build/"):
        cmake = "".join(path.read_text() for path in ROOT.glob("*/**/CMakeLists.txt"))
        assert f"add_executable({name.rpartition('/')[2]}" in cmake
    else:
        assert os.access(ROOT / name, os.X_OK), f"{name} is no program of this folder"


COMMANDS = named_commands()


def test_commands_are_found_in_every_document() -> None:
    assert {document for document, _ in COMMANDS} == {*DOCUMENTS, "--help"}
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(
    "command", sorted({tuple(command) for _, command in COMMANDS}), ids=lambda c: shlex.join(c)[:60]
)
def test_a_command_of_the_documents_exists_with_its_options(command: tuple[str, ...]) -> None:
    check(list(command))


def test_every_benchmark_has_its_line() -> None:
    folder = ROOT / "benchmarks"
    programs = [*folder.rglob("*.sh"), *folder.rglob("*.py")]
    named = (folder / "README.md").read_text()
    for path in programs:
        if path.suffix == ".sh" or "__main__" in path.read_text():
            folder_runs = (path.parent / "__main__.py").exists()
            assert f"{(path.parent if folder_runs else path).relative_to(ROOT)}" in named
