"""Times kernels that are bound by memory against a copy of as many bytes: `python benchmarks/bandwidth.py [CASE ...]`.

Each case moves a known number of bytes: what has to be read and written once. Beside it, in the same process and taking
turns with it, NumPy copies as many bytes with one thread for each processor, half of them read and half written. Printed is
the case's bandwidth as a part of the copy's. With --save the table goes to benchmarks/results/ with machine and versions.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from run import cpu_name, threads, versions

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import livegrad  # noqa: E402

BUDGET = 0.85
SECONDS = 0.3  # that a case and its copy take turns each round
ARRAY = 16 << 20  # bytes of a case's arrays
CASES: dict[str, tuple[str, int, Callable]] = {}


def case(what: str, arrays: float) -> Callable:
    """Enter a function that sets up and returns the step. arrays: how many arrays of 16 MB the step reads and writes."""

    def enter(set_up: Callable) -> Callable:
        CASES[set_up.__name__] = (what, int(arrays * ARRAY), set_up)
        return set_up

    return enter


def _matrix(grad: bool = False) -> Any:
    return livegrad.randn(4096, 1024, requires_grad=grad)


def _images(grad: bool = False) -> Any:
    return livegrad.randn(32, 64, 45, 45, requires_grad=grad)


def _forward(name: str, what: str, make: Callable, function: Callable, arrays: float) -> None:
    def set_up() -> Callable:
        x, f = make(), function()
        return lambda: livegrad.eval(f(x))

    set_up.__name__ = name
    case(what, arrays)(set_up)


def _with_backward(name: str, what: str, make: Callable, function: Callable, arrays: float) -> None:
    def set_up() -> Callable:
        x, f, g = make(True), function(), make()

        def step() -> None:
            x.grad = None
            f(x).backward(g)
            livegrad.eval(x.grad)

        return step

    set_up.__name__ = name
    case(what, arrays)(set_up)


_nn = livegrad.nn
_target = livegrad.randint(0, 1024, (4096,))
for _name, _what, _make, _function in (
    ("softmax", "softmax over rows", _matrix, lambda: lambda x: x.softmax(1)),
    ("log_softmax", "log-softmax over rows", _matrix, lambda: lambda x: x.log_softmax(1)),
    ("layer_norm", "layer norm", _matrix, lambda: _nn.LayerNorm(1024)),
    ("batch_norm", "batch norm in training", _images, lambda: _nn.BatchNorm2d(64)),
):
    _forward(_name, f"{_what}, 16 MB", _make, _function, 2)
    # Forward reads x and writes y; backward reads the gradient and x or y, and writes x's gradient.
    _with_backward(f"{_name}_backward", f"{_what}, 16 MB, and back", _make, _function, 5)


@case("cross-entropy of 4096 x 1024, and back", 3)
def cross_entropy_backward() -> Callable:
    x = _matrix(True)

    def step() -> None:
        x.grad = None
        livegrad.nn.functional.cross_entropy(x, _target).backward()
        livegrad.eval(x.grad)

    return step


for _name, _what, _function, _arrays in (
    ("cross_entropy", "cross-entropy of 4096 x 1024", lambda x: livegrad.nn.functional.cross_entropy(x, _target), 1),
    ("sum_all", "sum of all", lambda x: x.sum(), 1),
    ("sum_rows", "sum over each row", lambda x: x.sum(1), 1),
    ("sum_columns", "sum over each column", lambda x: x.sum(0), 1),
    ("var_rows", "variance of each row", lambda x: x.var(1), 1),
    ("argmax_rows", "argmax of each row", lambda x: x.argmax(1), 1),
    ("cumsum_rows", "running sum along rows", lambda x: x.cumsum(1), 2),
    ("cumsum_columns", "running sum along columns", lambda x: x.cumsum(0), 2),
    ("add", "x + 1", lambda x: x + 1.0, 2),
    ("exp", "exp", lambda x: x.exp(), 2),
):
    _forward(_name, f"{_what}, 16 MB", _matrix, lambda f=_function: f, _arrays)


class Copy:
    """Copies half of `nbytes`, so that as many are read and written together."""

    def __init__(self, nbytes: int, pool: ThreadPoolExecutor, count: int):
        source = np.ones(nbytes // 8, np.float32)
        target = np.empty_like(source)
        target[:] = 0
        bounds = [len(source) * i // count for i in range(count + 1)]
        self.parts = [(target[a:b], source[a:b]) for a, b in zip(bounds, bounds[1:])]
        self.pool = pool

    def __call__(self) -> None:
        for done in [self.pool.submit(np.copyto, *part) for part in self.parts]:
            done.result()


def measure(step: Callable, copy: Callable) -> tuple[float, float]:
    """The median seconds of a step and of a copy that take turns."""
    samples: tuple[list[float], list[float]] = ([], [])
    until = time.perf_counter() + 2 * SECONDS
    while time.perf_counter() < until:
        for run, taken in zip((step, copy), samples):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
    return statistics.median(samples[0]), statistics.median(samples[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    options = parser.parse_args()
    unknown = [c for c in options.cases if c not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; there are: {', '.join(CASES)}")
    lines = ["| case | ms | GB/s | copy GB/s | part | |", "|---|---:|---:|---:|---:|---|"]
    with ThreadPoolExecutor(threads()) as pool:
        for name in options.cases or CASES:
            what, nbytes, set_up = CASES[name]
            step, copy = set_up(), Copy(nbytes, pool, threads())
            for _ in range(5):
                step()
                copy()
            livegrad.codegen.kernels.wait_for_compiler()
            rounds = [measure(step, copy) for _ in range(options.rounds)]
            ours, theirs = (statistics.median(r[i] for r in rounds) for i in range(2))
            verdict = "" if theirs / ours >= BUDGET else "below"
            lines.append(
                f"| {what} | {ours * 1e3:.2f} | {nbytes / ours / 1e9:.1f} | {nbytes / theirs / 1e9:.1f} | {theirs / ours:.2f} "
                f"| {verdict} |"
            )
            print(lines[-1], flush=True)
    if options.save:
        head = (
            f"# Bandwidth of kernels that are bound by memory, {date.today()}\n\nBudget: {BUDGET:g} of a copy of as many "
            f"bytes in the same run.\n\n{cpu_name()}, {threads()} threads. {versions()}.\n\n"
        )
        target = HERE / "results" / "bandwidth.md"
        target.write_text(head + "\n".join(lines) + "\n")
        print(f"written to {target}")


if __name__ == "__main__":
    main()
