"""Times livegrad against PyTorch: `python benchmarks/run.py [CASE ...] [--rounds N] [--save]`.

Each library runs in a process of its own. The two take turns, case by case and round by round, so that whatever else the
machine is doing falls on both; a value is read back in every step. Printed are medians and their ratio. With --save
the table goes to benchmarks/results/ with the machine and the versions.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = ("livegrad", "torch")
SECONDS = 0.25  # that a case runs each round


def worker(library: str) -> None:
    """Read case names from standard input; answer each with the seconds per step of this round's samples."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    import importlib

    import cases_sequence  # noqa: F401  (enters its cases)
    from cases import CASES

    m = importlib.import_module(library)
    if library == "torch":
        m.set_num_threads(threads())
    ready: dict = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            step = ready[name] = CASES[name](m)
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                step()
        step = ready[name]
        samples = []
        until = time.perf_counter() + SECONDS
        repeat = 1
        while time.perf_counter() < until:
            started = time.perf_counter()
            for _ in range(repeat):
                step()
            took = time.perf_counter() - started
            if took < 1e-3:
                repeat *= 2
            samples.append(took / repeat)
        print(json.dumps(samples), flush=True)


def threads() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> str:
    from importlib.metadata import version

    names = ("torch", "numpy", "llvmlite", "scipy-openblas32")
    return f"Python {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in names)


def need_pytorch() -> None:
    """End the program where there is nothing to compare with."""
    if importlib.util.find_spec("torch") is None:
        sys.exit(f"{Path(sys.argv[0]).name}: PyTorch, with which it compares, is not installed in this environment")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    need_pytorch()
    sys.path.insert(0, str(HERE))
    import cases_sequence  # noqa: F401  (enters its cases)
    from cases import CASES

    unknown = [c for c in options.cases if c not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; there are: {', '.join(CASES)}")
    names = options.cases or list(CASES)
    processes = {
        library: subprocess.Popen(
            [sys.executable, __file__, "--worker", library], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for library in LIBRARIES
    }
    samples: dict[tuple, list] = {(name, library): [] for name in names for library in LIBRARIES}
    for round_number in range(options.rounds + 1):
        for name in names:
            for library in LIBRARIES if round_number % 2 else LIBRARIES[::-1]:
                p = processes[library]
                p.stdin.write(name + "\n")
                p.stdin.flush()
                answer = p.stdout.readline()
                if not answer:
                    sys.exit(f"the {library} process stopped in case {name}")
                if round_number:  # the first round warms up
                    samples[name, library] += json.loads(answer)
    for p in processes.values():
        p.stdin.close()
        p.wait()
    lines = ["| case | livegrad | PyTorch | ratio | budget | |", "|---|---:|---:|---:|---:|---|"]
    ratios = []
    for name in names:
        ours, theirs = (statistics.median(samples[name, library]) for library in LIBRARIES)
        budget = CASES[name].budget
        ratios.append(ours / theirs)
        verdict = "" if ours / theirs <= budget else "over"
        what = (CASES[name].__doc__ or name).strip()
        lines.append(f"| {what} | {show(ours)} | {show(theirs)} | {ours / theirs:.2f} | {budget:g} | {verdict} |")
    lines.append(f"\nGeometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}")
    text = "\n".join(lines)
    print(text)
    if options.save:
        head = (
            f"# CPU benchmarks, {date.today()}\n\nMedians over {options.rounds} interleaved rounds, each library in its "
            f"own process.\n\n{cpu_name()}, {threads()} threads. {versions()}.\n\n"
        )
        target = HERE / "results" / "cpu.md"
        target.write_text(head + text + "\n")
        print(f"written to {target}")


def show(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
