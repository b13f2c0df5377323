"""`planet doctor`: says what is installed and what works, and how to fix the rest."""

from __future__ import annotations

from collections.abc import Sequence

from planet.cli.output import complain, say
from planet.diagnostics.doctor import examine
from planet.errors import advice

HELP = """\
usage: planet doctor

Prints what planet was built with, the versions it runs with, and how fast it renders, and compares
the compiled planner with the reference. Exits with 1 if something that is needed is missing or
broken, and prints the command that fixes it. Works without the packages of the train extra."""


def run(arguments: Sequence[str]) -> int:
    """Runs the command; see `planet.cli.main` for the exit status."""
    if arguments:
        wrong = [argument for argument in arguments if argument not in ("-h", "--help")]
        if wrong:
            complain(f"planet doctor: expected no options, got {' '.join(wrong)}")
            return 2
        return 0 if say(advice.with_program(HELP)) else 1
    report = examine()
    return 0 if say(report.text()) and report.healthy else 1
