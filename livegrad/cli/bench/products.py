"""How fast each device multiplies square matrices, beside NumPy: measured, told and plotted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

import livegrad

from ..console import Console
from ..problem import Problem

NUMPY_DTYPES = ("float32", "float64")  # NumPy multiplies the others without a library, some hundred times slower
_BATCH = 0.01  # seconds that a device is kept busy between two looks at its clock


class Contender(NamedTuple):
    """Who multiplies: a device's name or "NumPy"; and what."""

    where: str
    dtype: str

    def __str__(self) -> str:
        return self.where if self.where == "NumPy" else f"livegrad, {self.where}"

    def does(self) -> bool:
        """Whether it is worth measuring."""
        return self.where != "NumPy" or self.dtype in NUMPY_DTYPES


def devices() -> list[str]:
    """The CPU and every CUDA device."""
    return ["cpu", *(f"cuda:{i}" for i in range(livegrad.cuda.device_count()))]


def tell_devices(shown: Console, chosen: Sequence[str]) -> None:
    """One line: which devices are measured, and what is missing for others."""
    from livegrad.runtime import blas
    from livegrad.runtime.cuda import driver

    if livegrad.cuda.is_available():
        names = {d: f" ({livegrad.cuda.get_device_name(d)})" if d != "cpu" else "" for d in chosen}
        shown.say(f"Devices: {', '.join(d + names[d] for d in chosen)}.")
    else:
        shown.say(f"Devices: cpu alone, as there is no CUDA device that can be used: {driver.missing()}.")
    shown.say(f"Matrix products on the CPU: {blas.info()}, {livegrad.get_num_threads()} threads.")


def measure(
    shown: Console, contenders: Sequence[Contender], sizes: Sequence[int], seconds: float
) -> dict[Contender, list[float]]:
    """GFLOP/s of each contender at each size, the best of what was seen in about `seconds`.

    Raises Problem where a size does not fit into a device's memory.
    """
    speeds: dict[Contender, list[float]] = {c: [] for c in contenders}
    with shown.progress("multiplying", len(sizes) * len(speeds)) as advance:
        done = 0
        for contender, rates in speeds.items():
            for n in sizes:
                try:
                    rates.append(2 * n**3 / _best_time(contender, n, seconds) / 1e9)
                except MemoryError:
                    raise Problem(
                        f"three {contender.dtype} matrices of {n} × {n} do not fit into the memory of "
                        f"{contender.where}; choose smaller --sizes"
                    ) from None
                done += 1
                advance(done, f"{contender}, {contender.dtype}: {n} × {n}")
    return speeds


def tables(shown: Console, speeds: dict[Contender, list[float]], sizes: Sequence[int]) -> None:
    """A table for each dtype; with a GPU, how many times as fast as livegrad on the CPU it is."""
    shown.say("The best of several runs each; other programs that are running slow them down, NumPy's the most.")
    if any(c.where == "NumPy" for c in speeds):
        shown.say(_why_numpy_differs())
    for dtype in dict.fromkeys(c.dtype for c in speeds):
        rows = [(str(c), *map(_rate, rates)) for c, rates in speeds.items() if c.dtype == dtype]
        base = speeds.get(Contender("cpu", dtype))
        for c, rates in speeds.items():
            if c.dtype == dtype and c.where.startswith("cuda") and base is not None:
                rows.append((f"{c.where} over cpu", *(f"{a / b:.1f} ×" for a, b in zip(rates, base))))
        shown.space()
        shown.table((f"{dtype}, GFLOP/s", *(f"{n} × {n}" for n in sizes)), rows)


def _why_numpy_differs() -> str:
    """What the comparison with NumPy compares: two libraries, or one with two choices of kernels and threads."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"NumPy multiplies with the {blas['name']} {blas['version']} that it was built with, whose kernels and threads "
        "were chosen when NumPy was imported. livegrad chooses kernels by what the processor can do, has kernels of "
        "its own for sizes in between, and runs on the threads that its other work runs on."
    )


def _rate(gigaflops: float) -> str:
    return f"{gigaflops:.0f}" if gigaflops >= 10 else f"{gigaflops:.2g}"


def _best_time(contender: Contender, n: int, seconds: float) -> float:
    """The shortest time of a product, in seconds. What is measured first has been run before: loaded and warm."""
    product = _product(contender, n)
    if contender.where.startswith("cuda"):
        return _best_on_device(product, livegrad.device(contender.where), seconds)
    product()
    best, until = float("inf"), perf_counter() + seconds
    while (begun := perf_counter()) < until or best == float("inf"):
        product()
        best = min(best, perf_counter() - begun)
    return best


def _best_on_device(product: Callable[[], Any], device: Any, seconds: float) -> float:
    """The same by the device's own clock. Products are started without waiting, and timed many at once, so that
    neither Python nor a wait is part of a short one."""
    cuda = livegrad.cuda
    with cuda.device(device):
        product()
        cuda.synchronize(device)
        begun = perf_counter()
        product()
        cuda.synchronize(device)
        count = max(1, min(1000, int(_BATCH / max(perf_counter() - begun, 1e-6))))
        best, until = float("inf"), perf_counter() + seconds
        while perf_counter() < until or best == float("inf"):
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            start.record()
            for _ in range(count):
                product()
            end.record()
            end.synchronize()
            best = min(best, start.elapsed_time(end) / 1000 / count)
    return best


def _product(contender: Contender, n: int) -> Callable[[], Any]:
    """A function that starts the product of two n × n matrices; on the CPU it is done when that returns."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, n, n), dtype=np.float32)
    if contender.where == "NumPy":
        a, b = a.astype(contender.dtype), b.astype(contender.dtype)
        result = np.empty_like(a)
        return lambda: np.matmul(a, b, out=result)
    dtype = getattr(livegrad, contender.dtype)
    x, y = (livegrad.tensor(m, device=contender.where).to(dtype) for m in (a, b))
    livegrad.eval(x, y)
    return lambda: livegrad.eval(x @ y)


def plot(path: Path, speeds: dict[Contender, list[float]], sizes: Sequence[int]) -> Path:
    """Save a plot, with a logarithmic axis of speeds where they are far apart."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    dtypes = list(dict.fromkeys(c.dtype for c in speeds))
    for (contender, rates), marker in zip(speeds.items(), "os^dv<>ph*" * len(speeds)):
        label = str(contender) if len(dtypes) == 1 else f"{contender}, {contender.dtype}"
        axes.plot(sizes, rates, marker=marker, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    fastest = [max(rates) for rates in speeds.values()]
    if max(fastest) > 20 * min(fastest):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("rows and columns of each matrix")
    axes.set_ylabel("GFLOP/s (more is faster)")
    axes.set_title("Product of two square matrices" + (f", {dtypes[0]}" if len(dtypes) == 1 else ""))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    return path
