"""``livegrad tour``: a graph from the first operator to a trained classifier, step by step."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from ..console import Console, console
from ..problem import require, writable

__all__ = ["tour"]

PREPARING_SECONDS = 30  # to wait for at most


def tour(out: Path, *, quick: bool = False, seed: int = 0, plot: bool = True) -> int:
    """Run the tour, writing to the folder `out`; returns the exit code.

    Raises Problem where a package is missing or the folder cannot be written to, before anything is shown.
    """
    require("livegrad tour", "tensorboard", "sklearn", *(["matplotlib"] if plot else []))
    writable(out)
    started = perf_counter()
    import livegrad

    from . import digits, gradient, products

    livegrad.manual_seed(seed)
    shown = console()
    shown.title(
        f"livegrad {livegrad.__version__}", "A tensor library that records what you do, fuses it and differentiates it."
    )
    files = gradient.run(shown, out)
    files += products.run(shown, out, quick, plot)
    files += digits.run(shown, out, quick, seed)
    _list(shown, out, files)
    if not quick:
        _prepare(shown)
    shown.say(f"Done in {perf_counter() - started:.0f} seconds.")
    return 0


def _prepare(shown: Console) -> None:
    """Wait for the machine code of the library's own functions, so that the next program finds all of it."""
    from livegrad.native.process import MAKER

    if MAKER.running():
        shown.say(
            "Once on a machine, livegrad compiles its own most used functions. That began in the background; the rest "
            "takes some seconds, after which programs start at full speed."
        )
        MAKER.wait(PREPARING_SECONDS)
        shown.space()


def _list(shown: Console, out: Path, files: list[tuple[Path, str]]) -> None:
    shown.step("What was written")
    shown.table(("", ""), [(str(path), what) for path, what in files])
    shown.space()
    shown.say(f"To see the graphs and curves in a browser: tensorboard --logdir {out / 'runs'}")
