"""Which devices there are, and how fast each multiplies matrices: `livegrad bench matmul`, in short."""

from __future__ import annotations

from pathlib import Path

from ..bench import products
from ..console import Console

SIZES = (256, 512, 1024, 1536, 2048)
QUICK_SIZES = (128, 256, 512)
SECONDS = 0.3  # each size and each library is repeated for about this long


def run(shown: Console, out: Path, quick: bool, plot: bool) -> list[tuple[Path, str]]:
    """Time, tell, plot; returns the files written."""
    shown.step("Devices, and a large matrix product")
    devices = products.devices()
    products.tell_devices(shown, devices)
    sizes = QUICK_SIZES if quick else SIZES
    contenders = [products.Contender(where, "float32") for where in (*devices, "NumPy")]
    speeds = products.measure(shown, contenders, sizes, SECONDS / 5 if quick else SECONDS)
    products.tables(shown, speeds, sizes)
    files = []
    if plot:
        files.append((products.plot(out / "matmul.png", speeds, sizes), "speed of matrix products, a plot"))
    return files
