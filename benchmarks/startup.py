"""How long a program takes to get going, and its memory, against PyTorch: `python benchmarks/startup.py [--rounds N]`.

Measured are the import, and the time from the start of the process to the end of its first training step (an MLP
784-512-512-10, batch 256, Adam, the loss read): for livegrad with the kernels that an earlier process kept on disk
("warm") and with none ("cold"). Every sample is a process of its own; the libraries take turns. Bytecode is kept, as
it is for installed packages. With --save the table goes to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from run import LIBRARIES, cpu_name, need_pytorch, show, threads, versions

HERE = Path(__file__).parent


def worker(library: str, what: str) -> None:
    """Do it, and tell: the import's seconds and the largest memory so far."""
    started = time.perf_counter()
    import importlib

    m = importlib.import_module(library)
    took = time.perf_counter() - started
    if what == "step":
        first_step(m)
    print(json.dumps([took, peak_bytes()]), flush=True)


def first_step(m) -> float:
    m.manual_seed(0)
    nn = m.nn
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    x, y = m.randn(256, 784), m.randint(0, 10, (256,))
    optimizer = m.optim.Adam(model.parameters(), lr=1e-3)
    loss = nn.CrossEntropyLoss()(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(library: str, what: str, cache: str) -> tuple[float, float, int]:
    """Seconds from the start of a process until it has done it, those of the import, and bytes."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["LIVEGRAD_CACHE_DIR"] = cache
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, __file__, "--worker", library, what], stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        answer = process.stdout.readline()
        took = time.perf_counter() - started
    if not answer:
        sys.exit(f"the {library} process failed")
    imported, peak = json.loads(answer)
    return took, imported, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    need_pytorch()
    samples: dict[tuple, list] = {}
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(options.rounds + 1):
            cold = os.path.join(folder, str(round_number))
            for library in LIBRARIES if round_number % 2 else LIBRARIES[::-1]:
                runs = {"import": ("import", cold), "cold": ("step", cold), "warm": ("step", cold)}
                if library == "torch":
                    del runs["warm"]
                for name, (what, cache) in runs.items():
                    found = measure(library, what, cache)
                    if round_number:  # the first round fills the system's cache of files, and writes bytecode
                        samples.setdefault((library, name), []).append(found)

    def median(library: str, name: str, part: int) -> float:
        return statistics.median(s[part] for s in samples[library, name])

    rows = [
        ("`import`", median("livegrad", "import", 1), median("torch", "import", 1), 0.25, show),
        (
            "process start to first MLP step, warm",
            median("livegrad", "warm", 0),
            median("torch", "cold", 0),
            0.25,
            show,
        ),
        ("the same, cold", median("livegrad", "cold", 0), median("torch", "cold", 0), 0.7, show),
        ("memory after `import`", median("livegrad", "import", 2), median("torch", "import", 2), 1.0, megabytes),
        (
            "peak memory of the MLP process, warm",
            median("livegrad", "warm", 2),
            median("torch", "cold", 2),
            1.0,
            megabytes,
        ),
        ("the same, cold", median("livegrad", "cold", 2), median("torch", "cold", 2), 1.0, megabytes),
    ]
    lines = ["| what | livegrad | PyTorch | ratio | budget | |", "|---|---:|---:|---:|---:|---|"]
    for what, ours, theirs, budget, text in rows:
        verdict = "" if ours <= budget * theirs else "over"
        lines.append(f"| {what} | {text(ours)} | {text(theirs)} | {ours / theirs:.2f} | {budget:g} | {verdict} |")
    table = "\n".join(lines)
    print(table)
    if options.save:
        head = (
            f"# Starting up, {date.today()}\n\nMedians of {options.rounds} processes each, the libraries taking turns. "
            f"Warm: kernels that an earlier process kept on disk; cold: none.\n\n"
            f"{cpu_name()}, {threads()} threads. {versions()}.\n\n"
        )
        target = HERE / "results" / "startup.md"
        target.write_text(head + table + "\n")
        print(f"written to {target}")


def megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
