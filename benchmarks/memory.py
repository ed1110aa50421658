"""Peak memory against PyTorch: `python benchmarks/memory.py [CASE ...] [--rounds N] [--save]`.

A case of benchmarks/cases*.py runs some steps in a process of its own. Told are the most memory that the process had
(resident, as the system counts it), and how much of that came after the import. The libraries take turns, and the first
round, which fills the cache of kernels, is not counted. With --save the table goes to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

from run import LIBRARIES, cpu_name, need_pytorch, threads, versions
from startup import megabytes, peak_bytes

HERE = Path(__file__).parent
STEPS = 10
PROGRAMS = ("mlp_adam", "mnist_cnn", "gpt_small")
BUDGET = 0.8


def worker(library: str, name: str) -> None:
    """Run a case, and tell the peak after the import and at the end, in bytes."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    import importlib

    import cases_sequence  # noqa: F401  (enters its cases)
    from cases import CASES

    m = importlib.import_module(library)
    for part in ("nn", "optim"):  # what the library loads on first use is part of the import
        getattr(m, part)
    imported = peak_bytes()
    if library == "torch":
        m.set_num_threads(threads())
    step = CASES[name](m)
    for _ in range(STEPS):
        step()
    print(json.dumps([imported, peak_bytes()]), flush=True)


def measure(library: str, name: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, __file__, "--worker", library, name], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="*", default=PROGRAMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    need_pytorch()
    lines = ["| case | what | livegrad | PyTorch | ratio | budget | |", "|---|---|---:|---:|---:|---:|---|"]
    for name in options.cases:
        samples: dict[str, list] = {library: [] for library in LIBRARIES}
        for round_number in range(options.rounds + 1):
            for library in LIBRARIES if round_number % 2 else LIBRARIES[::-1]:
                found = measure(library, name)
                if round_number:
                    samples[library].append(found)
        for what, figure in (("in all", lambda s: s[1]), ("after the import", lambda s: s[1] - s[0])):
            ours, theirs = (statistics.median(map(figure, samples[library])) for library in LIBRARIES)
            verdict = "" if ours <= BUDGET * theirs else "over"
            lines.append(
                f"| {name} | {what} | {megabytes(ours)} | {megabytes(theirs)} | {ours / theirs:.2f} | {BUDGET} "
                f"| {verdict} |"
            )
    table = "\n".join(lines)
    print(table)
    if options.save:
        head = (
            f"# Peak memory, {date.today()}\n\nMedians of {options.rounds} processes each, which run {STEPS} steps.\n\n"
            f"{cpu_name()}, {threads()} threads. {versions()}.\n\n"
        )
        target = HERE / "results" / "memory.md"
        target.write_text(head + table + "\n")
        print(f"written to {target}")


if __name__ == "__main__":
    main()
