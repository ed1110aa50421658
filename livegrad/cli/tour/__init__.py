"""``livegrad tour``: a graph from the first operator to a trained classifier, step by step."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from ..console import Console, console
from ..problem import require, writable

__all__ = ["tour"]


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
    shown.say(f"Done in {perf_counter() - started:.0f} seconds.")
    return 0


def _list(shown: Console, out: Path, files: list[tuple[Path, str]]) -> None:
    shown.step("What was written")
    shown.table(("", ""), [(str(path), what) for path, what in files])
    shown.space()
    shown.say(f"To see the graphs and curves in a browser: tensorboard --logdir {out / 'runs'}")
