"""The command ``livegrad``: a tour, what is here and missing, how fast it is, running a program, its graph."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from .arguments import parse
from .ascii import install
from .problem import Problem

__all__ = ["main"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (the program's own if None) and return its exit code.

    What the user can mend (an option, a folder, a missing package) is one line on stderr and exit code 2.
    """
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
    except Problem as problem:
        return _told(problem)
    except SystemExit as leaving:  # argparse, after --help or --version
        return leaving.code if isinstance(leaving.code, int) else 0
    if not options.here:
        return ours(lambda: options.command(options))
    try:
        status: int = options.command(options)  # what it prints and raises is the program's own
        return status
    except Problem as problem:
        return _told(problem)


def _told(problem: Problem) -> int:
    print(f"livegrad: {problem}", file=sys.stderr)
    return problem.status


def ours(command: Callable[[], int]) -> int:
    """Run something whose output and errors are livegrad's own; the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before the program began
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows one that looks like it
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=install())
    try:
        status = command()
        sys.stdout.flush()
        return status
    except Problem as problem:
        return _told(problem)
    except KeyboardInterrupt:
        print("livegrad: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough, as in `livegrad tour | head`
        _silence()
        return 141
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _silence()
        return _told(Problem(f"cannot write any more: {os.strerror(error.errno or 0)}"))


def _silence() -> None:
    """Let what is still to be written go nowhere, which Python would complain of when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
