"""The command line: subcommands and options, with errors of one line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from .problem import Problem


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are a `Problem`: one line."""

    def error(self, message: str) -> NoReturn:
        raise Problem(f"{message} (see: {self.prog} --help)")


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {(1 << 32) - 1}, not {text!r}")
    return int(text)


def parser() -> Parser:
    """The parser; the parsed options carry the function to call as `command`."""
    top = Parser(
        prog="livegrad", description="A define-by-run tensor library whose graph you can see.", allow_abbrev=False
    )
    top.add_argument("--version", action=_Version)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    top.set_defaults(command=lambda options: print(top.format_help(), end="") or 0)

    tour = commands.add_parser(
        "tour",
        allow_abbrev=False,
        help="record a graph, look at it, differentiate it, train a classifier: in under a minute",
        description="A tour in the terminal: record a graph, see it, differentiate it, time a matrix product, "
        "train a classifier on real data. What it writes goes to one folder.",
    )
    tour.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("livegrad-tour"), help="folder to write to (%(default)s)"
    )
    tour.add_argument("--quick", action="store_true", help="smaller matrices and fewer epochs: some seconds in all")
    tour.add_argument("--seed", type=_seed, default=0, help="for the random numbers (%(default)s)")
    tour.add_argument("--no-plot", action="store_true", help="save no plot; matplotlib is not needed then")
    tour.set_defaults(command=_tour)

    info = commands.add_parser(
        "info",
        allow_abbrev=False,
        help="versions, devices, threads and caches, and what is missing",
        description="What livegrad found on this machine, and what is missing and why.",
    )
    info.set_defaults(command=_info)

    run = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="run a PyTorch program unchanged: its `import torch` gives livegrad",
        description="Run a program as Python would, with livegrad where it imports torch.",
    )
    run.add_argument("-m", dest="as_module", action="store_true", help="PROGRAM is a module's name, not a file")
    run.add_argument("program", metavar="PROGRAM")
    run.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help="the program's own arguments")
    run.set_defaults(command=_run)
    return top


class _Version(argparse.Action):
    """Prints the version; the package is imported only for that."""

    def __init__(self, option_strings: Any, dest: str, **ignored: Any):
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help="show the version and leave")

    def __call__(self, used: argparse.ArgumentParser, *rest: Any) -> None:
        import livegrad

        print(f"livegrad {livegrad.__version__}")
        used.exit()


def _tour(options: argparse.Namespace) -> int:
    from .tour import tour

    return tour(options.out, quick=options.quick, seed=options.seed, plot=not options.no_plot)


def _run(options: argparse.Namespace) -> int:
    from .run import run

    return run(options.program, options.arguments, options.as_module)


def _info(options: argparse.Namespace) -> int:
    from .info import info

    return info()
