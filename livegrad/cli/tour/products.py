"""Which devices there are, and how fast each multiplies matrices, beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import livegrad

from ..console import Console

SIZES = (256, 512, 1024, 1536, 2048)
QUICK_SIZES = (128, 256, 512)
SECONDS = 0.3  # each size and each library is repeated for about this long


def run(shown: Console, out: Path, quick: bool, plot: bool) -> list[tuple[Path, str]]:
    """Time, tell, plot; returns the files written."""
    shown.step("Devices, and a large matrix product")
    devices = ["cpu", *(f"cuda:{i}" for i in range(livegrad.cuda.device_count()))]
    if len(devices) == 1:
        shown.say("Devices: cpu. (There is no CUDA device that livegrad can use here, so everything runs on the CPU.)")
    else:
        shown.say(f"Devices: {', '.join(devices)}.")
    from livegrad.runtime import blas

    shown.say(f"Matrix products on the CPU: {blas.info()}, {livegrad.get_num_threads()} threads.")
    sizes = QUICK_SIZES if quick else SIZES
    speeds: dict[str, list[float]] = {name: [] for name in (*(f"livegrad, {d}" for d in devices), "NumPy")}
    with shown.progress("multiplying", len(sizes) * len(speeds)) as advance:
        done = 0
        for name, rates in speeds.items():
            for n in sizes:
                rates.append(_gigaflops(_product(name, n), n, SECONDS / 5 if quick else SECONDS))
                done += 1
                advance(done, f"{name}: {n} × {n}")
    rows = [(name, *(f"{rate:.0f}" for rate in rates)) for name, rates in speeds.items()]
    shown.say("The best of several runs each; other programs that are running slow them down, NumPy's the most.")
    shown.table(("float32, GFLOP/s", *(f"{n} × {n}" for n in sizes)), rows)
    files = []
    if plot:
        files.append((_plot(out / "matmul.png", sizes, speeds), "speed of matrix products, a plot"))
    return files


def _product(name: str, n: int) -> Callable[[], Any]:
    """A function that multiplies two n × n matrices and waits for the result."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, n, n), dtype=np.float32)
    if name == "NumPy":
        result = np.empty_like(a)
        return lambda: np.matmul(a, b, out=result)
    device = name.partition(", ")[2]
    x, y = livegrad.tensor(a, device=device), livegrad.tensor(b, device=device)

    def product() -> None:
        livegrad.eval(x @ y)
        if device != "cpu":
            livegrad.cuda.synchronize(device)

    return product


def _gigaflops(product: Callable[[], Any], n: int, seconds: float) -> float:
    """The best speed that was seen in about so many seconds."""
    product()
    best, until = float("inf"), perf_counter() + seconds
    while (begun := perf_counter()) < until:
        product()
        best = min(best, perf_counter() - begun)
    return 2 * n**3 / best / 1e9


def _plot(path: Path, sizes: tuple[int, ...], speeds: dict[str, list[float]]) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (name, rates), marker in zip(speeds.items(), "os^dv<>"):
        axes.plot(sizes, rates, marker=marker, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rows and columns of each matrix")
    axes.set_ylabel("GFLOP/s (more is faster)")
    axes.set_title("Product of two square float32 matrices")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    return path
