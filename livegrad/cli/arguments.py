"""The command line: subcommands and options, with errors of one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..distributed.run import add_options
from .problem import Problem


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are a `Problem`: one line."""

    def error(self, message: str) -> NoReturn:
        raise Problem(f"{message} (see: {self.prog} --help)")


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {(1 << 32) - 1}, not {text!r}")
    return int(text)


def _sizes(text: str) -> tuple[int, ...]:
    found = []
    for part in text.split(","):
        if not part.isdecimal() or not 1 <= int(part) <= 1 << 16:
            raise argparse.ArgumentTypeError(f"a size is a whole number from 1 to {1 << 16}, not {part!r}")
        found.append(int(part))
    return tuple(sorted(set(found)))


_DTYPES = ("float32", "float64", "float16", "bfloat16")


def _dtypes(text: str) -> tuple[str, ...]:
    for part in text.split(","):
        if part not in _DTYPES:
            raise argparse.ArgumentTypeError(f"a dtype is one of {', '.join(_DTYPES)}, not {part!r}")
    return tuple(dict.fromkeys(text.split(",")))


def _devices(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found <= 60:
        raise argparse.ArgumentTypeError(f"seconds are a number above 0, at most 60, not {text!r}")
    return found


def parser() -> Parser:
    """The parser; the parsed options carry the function to call as `command`."""
    top = Parser(
        prog="livegrad", description="A define-by-run tensor library whose graph you can see.", allow_abbrev=False
    )
    top.add_argument("--version", action=_Version)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    top.set_defaults(here=False, prog=top.prog, command=lambda options: print(top.format_help(), end="") or 0)

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
    tour.set_defaults(command=_tour, prog=tour.prog)

    info = commands.add_parser(
        "info",
        allow_abbrev=False,
        help="versions, devices, threads and caches, and what is missing",
        description="What livegrad found on this machine, and what is missing and why.",
    )
    info.set_defaults(command=_info, prog=info.prog)

    bench = commands.add_parser(
        "bench",
        allow_abbrev=False,
        help="time matrix products on the CPU and on every GPU",
        description="Measure this machine.",
    )
    bench.set_defaults(prog=bench.prog, command=lambda options: print(bench.format_help(), end="") or 0)
    kinds = bench.add_subparsers(title="benchmarks", metavar="BENCHMARK")
    matmul = kinds.add_parser(
        "matmul",
        allow_abbrev=False,
        help="products of square matrices, CPU against GPU over sizes",
        description="Products of square matrices on the CPU, on every CUDA device and with NumPy: a table in the "
        "terminal and a plot. GPUs are timed by their own clock, after warming up.",
    )
    matmul.add_argument("--sizes", type=_sizes, metavar="N,N,...", default=(256, 512, 1024, 2048, 4096),
                        help="rows and columns of the matrices (256,512,1024,2048,4096)")  # fmt: skip
    matmul.add_argument("--dtypes", type=_dtypes, metavar="T,T,...", default=("float32",),
                        help=f"any of {', '.join(_DTYPES)} (float32)")  # fmt: skip
    matmul.add_argument("--devices", type=_devices, metavar="D,D,...",
                        help="such as cpu,cuda:0 (the CPU and every CUDA device)")  # fmt: skip
    matmul.add_argument("--seconds", type=_seconds, default=0.3, metavar="S",
                        help="how long each product is repeated (%(default)s)")  # fmt: skip
    matmul.add_argument("--out", metavar="DIR", type=Path, default=Path("livegrad-bench"),
                        help="folder for the plot (%(default)s)")  # fmt: skip
    matmul.add_argument("--no-plot", action="store_true", help="save no plot; matplotlib is not needed then")
    matmul.set_defaults(command=_matmul, prog=matmul.prog)

    run = commands.add_parser(
        "run",
        allow_abbrev=False,
        help="run a PyTorch program unchanged: its `import torch` gives livegrad",
        description="Run a program as Python would, with livegrad where it imports torch; with --nproc-per-node in\n"
        "several processes, as torchrun does. What comes after the program are its own arguments.",
        usage="livegrad run [-h] [--nproc-per-node N ...] (FILE | - | -m MODULE | -c CODE) ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_PROGRAM,
    )
    add_options(run)
    run.set_defaults(command=_run)
    _add_graph(commands)
    return top


def _add_graph(commands: Any) -> None:
    graph = commands.add_parser(
        "graph",
        allow_abbrev=False,
        help="run a program, and print, draw or save the graph of what it computed",
        description="Run a program as `livegrad run` does, then show the graph of the tensor from which it called\n"
        "backward() last, or of a variable. Without an option that names a file it is printed: a line\n"
        "for each operator. A file called - is standard output.",
        usage="livegrad graph [-h] [--of NAME] [--html FILE ...] (FILE | - | -m MODULE | -c CODE) ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_PROGRAM,
    )
    graph.add_argument("--of", metavar="NAME", help="the variable, of the program or of one of its functions, to show")
    graph.add_argument("--html", metavar="FILE", help="write a page for the browser, to walk through")
    graph.add_argument("--svg", metavar="FILE", help="write a picture")
    graph.add_argument("--dot", metavar="FILE", help="write Graphviz' language")
    graph.add_argument("--draw", action="store_true", help="draw it in the terminal")
    graph.add_argument("--fold", action="store_true", help="show repeated modules once")
    graph.set_defaults(command=_graph)


_PROGRAM = """\
program:
  FILE                  a file, or a folder or an archive with __main__.py
  -                     from standard input
  -m MODULE             a module, as python -m
  -c CODE               the text itself
"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options; those of `run` and `graph` end where the program begins, which is their `program`.

    Their `here` is whether the user's program runs in this process.
    """
    from .run import split

    command = words[0] if words else ""
    if command not in ("run", "graph"):
        options, unknown = parser().parse_known_args(words)
        if unknown:
            raise Problem(f"unrecognized arguments: {' '.join(unknown)} (see: {options.prog} --help)")
        return options
    own, program = split(words[1:], command)
    options, unknown = parser().parse_known_args([command, *own])
    if unknown:
        raise Problem(f"livegrad {command} has no option {unknown[0]} (see: livegrad {command} --help)")
    if program is None:
        raise Problem(
            f"livegrad {command} needs a program: FILE, -, -m MODULE or -c CODE (see: livegrad {command} --help)"
        )
    options.program = program
    options.here = command == "graph" or (options.nproc_per_node is None and options.nnodes == 1)
    return options


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


def _matmul(options: argparse.Namespace) -> int:
    from .bench import matmul

    return matmul(
        options.out, sizes=options.sizes, dtypes=options.dtypes, devices=options.devices, seconds=options.seconds,
        plot=not options.no_plot,
    )  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    from .run import check, run, run_several

    check(options.program)
    return run(options.program) if options.here else run_several(options, options.program)


def _graph(options: argparse.Namespace) -> int:
    from .graph import graph

    return graph(options.program, options)


def _info(options: argparse.Namespace) -> int:
    from .info import info

    return info()
