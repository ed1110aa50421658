"""``livegrad bench matmul``: matrix products on the CPU against every GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..console import console
from ..problem import Problem, require, writable

__all__ = ["matmul"]


def matmul(
    out: Path,
    *,
    sizes: Sequence[int],
    dtypes: Sequence[str],
    devices: Sequence[str] | None = None,
    seconds: float = 0.3,
    plot: bool = True,
) -> int:
    """Measure, print the tables and save the plot to the folder `out`; returns the exit code.

    devices: names; the CPU and every CUDA device for None. seconds: for each size of each contender.
    Raises Problem for a device that cannot be used, a missing package and a folder that cannot be written to, before
    anything is shown.
    """
    if plot:
        require("the plot", "matplotlib", instead="leave it out with --no-plot")
        writable(out)
    import livegrad

    from . import products

    chosen = products.devices() if devices is None else [_usable(d) for d in devices]
    contenders = [
        contender
        for dtype in dtypes
        for contender in (products.Contender(where, dtype) for where in (*chosen, "NumPy"))
        if contender.does()
    ]
    shown = console()
    shown.title(f"livegrad {livegrad.__version__}", "Products of square matrices, device against device.")
    products.tell_devices(shown, chosen)
    speeds = products.measure(shown, contenders, sizes, seconds)
    products.tables(shown, speeds, sizes)
    if plot:
        shown.space()
        shown.say(f"Plotted in {products.plot(out / 'matmul.png', speeds, sizes)}.")
    return 0


def _usable(name: str) -> str:
    """A device's name, with its number. Raises Problem where it cannot be used."""
    from livegrad import devices

    try:
        return str(devices.available(name))
    except RuntimeError as error:
        raise Problem(str(error)) from None
