"""On a GPU: `python benchmarks/gpu.py [CASE ...] [--rounds N] [--save]` times livegrad against PyTorch, eager and compiled;
`python benchmarks/gpu.py --check [NAME ...]` does every check that needs a GPU, or those, and writes a report (see
`gpu_check`).

Each library runs in a process of its own, in turns. Times are the device's own (events), over many steps that are started
without waiting, after warming up; printed are medians, the part of a device-to-device copy's bandwidth, and the ratio to
PyTorch. Without a GPU both commands say what is missing and end with code 2. --check ends with code 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SECONDS = 1.0  # that a case runs in each round, and as long again before, to warm up
LIMIT = 300.0  # seconds that a process may take for a case: PyTorch compiles some for a minute
STEPS = 0.02  # seconds between two looks at the clock


# --- timing -----------------------------------------------------------------------------------------------------


def worker(library: str) -> None:
    """Read case names from standard input; answer each with this round's samples, in milliseconds per step."""
    import importlib

    from cases_gpu import CASES

    name, _, compiled = library.partition(".")
    m = importlib.import_module(name)
    ready: dict[str, Any] = {}
    for line in sys.stdin:
        case = line.strip()
        try:
            if case == "copy":
                answer: Any = {"gigabytes per second": copy_speed(m)}
            else:
                if case not in ready:
                    ready.clear()  # and the memory of the one before
                    ready[case] = prepared(m, CASES[case](m), bool(compiled))
                answer = samples(m, ready[case])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def prepared(m: Any, step: Any, compiled: bool) -> Any:
    """The step, warm; with its model compiled, where PyTorch is to do that."""
    if compiled:
        step.model.compile()
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        step()
        m.cuda.synchronize()
    return step


def samples(m: Any, step: Any) -> list[float]:
    """Milliseconds per step by the device's clock, about a hundred times."""
    step()
    m.cuda.synchronize()
    started = time.perf_counter()
    step()
    m.cuda.synchronize()
    count = max(1, int(STEPS / max(time.perf_counter() - started, 1e-6)))
    found = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until or len(found) < 5:
        begin, end = (m.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            step()
        end.record()
        end.synchronize()
        found.append(begin.elapsed_time(end) / count)
    return found


def copy_speed(m: Any) -> float:
    """Bytes read and written per nanosecond by a copy of 1 GiB on the device."""
    source, target = m.ones(1 << 28, device="cuda"), m.zeros(1 << 28, device="cuda")

    def step() -> None:
        target.copy_(source)
        if m.__name__ == "livegrad":
            m.eval(target)

    return 2 * (1 << 30) / statistics.median(samples(m, step)) / 1e6


class Worker:
    """A process that times one library. limit: seconds that it may take to answer; then it is ended."""

    def __init__(self, library: str, limit: float = LIMIT):
        self.limit = limit
        paths = os.pathsep.join(filter(None, (str(ROOT), str(HERE), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "gpu.py"), "--worker", library], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip

    def ask(self, case: str) -> Any:
        """This round's samples, or a dictionary with an error."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            print(case, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            return {"error": "the process has ended"}
        late = threading.Event()
        timer = threading.Timer(self.limit, lambda: (late.set(), self.process.kill()))
        timer.start()  # killed, it closes its end, and reading ends
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if line:
            return json.loads(line)
        return {"error": f"no answer in {self.limit:g} s" if late.is_set() else "the process has ended"}


def measure(names: list[str], rounds: int) -> tuple[list[str], bool]:
    """The table's lines, and whether every case is within its budgets."""
    from cases_gpu import CASES

    forms = ["livegrad", *dict.fromkeys(form for n in names for form in CASES[n].against)]
    workers = {form: Worker(form) for form in forms}
    speeds = [w.ask("copy") for form, w in workers.items() if form != "torch.compile"]
    copy = max((s.get("gigabytes per second", 0.0) for s in speeds), default=0.0)
    lines = [f"A copy on the device moves {copy:.0f} GB/s.", "",
             "| case | livegrad | " + " | ".join(forms[1:]) + " | of copying | TFLOP/s | ratio, budget |",
             "|---|---|" + "---|" * len(forms[1:]) + "---|---|---|"]  # fmt: skip
    within = True
    for name in names:
        case = CASES[name]
        asked = ["livegrad", *case.against]
        found: dict[str, list[float]] = {form: [] for form in asked}
        errors: dict[str, str] = {}
        for _ in range(rounds):
            for form in asked:
                answer = workers[form].ask(name)
                if isinstance(answer, dict):
                    errors[form] = answer["error"]
                else:
                    found[form] += answer
        times = {form: statistics.median(each) for form, each in found.items() if each}
        lines.append(row(name, case, forms, times, copy))
        lines += [f"| {name}: {form}: {text} |" for form, text in errors.items()]
        ratios = [times["livegrad"] / times[form] <= budget for form, budget in case.against.items() if form in times
                  and "livegrad" in times]  # fmt: skip
        within = within and "livegrad" in times and all(ratios)
        print(lines[-1 - len(errors)], *lines[len(lines) - len(errors) :], sep="\n", flush=True)
    return lines, within


def row(name: str, case: Any, forms: list[str], times: dict[str, float], copy: float) -> str:
    """A case's line of the table."""
    cells = [f"{times[form]:.3f} ms" if form in times else "" for form in forms]
    ours = times.get("livegrad")
    part = f"{case.moved / ours / 1e6 / copy:.0%}" if ours and case.moved and copy else ""
    speed = f"{case.operations / ours / 1e9:.1f}" if ours and case.operations else ""
    ratios = [f"{ours / times[form]:.2f} ({budget:.2f})" if ours and form in times else "" for form, budget in
              case.against.items()]  # fmt: skip
    return f"| {name} | {' | '.join(cells)} | {part} | {speed} | {', '.join(ratios)} |"


# --- the command ------------------------------------------------------------------------------------------------


def machine() -> str:
    """The device, and the versions of what ran."""
    from importlib.metadata import PackageNotFoundError, version

    import livegrad
    from livegrad.runtime.cuda import driver

    def of(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"no {name}"

    takes = driver.cupy().cuda.runtime.driverGetVersion()
    names = ("torch", "cupy-cuda13x", "cupy-cuda12x", "nvidia-cudnn-frontend", "llvmlite", "numpy")
    return (
        f"{livegrad.cuda.get_device_name()}, a driver for CUDA {takes // 1000}.{takes % 1000 // 10}, Python "
        f"{platform.python_version()}, {', '.join(map(of, names))}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    sys.path[:0] = [str(HERE), str(ROOT)]
    import gpu_check
    from cases_gpu import CASES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of {', '.join(CASES)} (all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often the libraries take turns (%(default)s)")
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/gpu.md")
    parser.add_argument("--check", action="store_true", help="do every check that needs a GPU, and time nothing")
    parser.add_argument("--workers", type=int, help="processes that run tests side by side (a check's)")
    parser.add_argument(
        "--minutes", type=float, default=gpu_check.MINUTES, help="a check is stopped after that many (%(default)s)"
    )
    parser.add_argument(
        "--report", type=Path, default=gpu_check.REPORT, help="where the checks' report goes (%(default)s)"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        worker(options.worker)
        return 0
    known = [*dict.fromkeys(k for c in gpu_check.checks() for k in (c.group, c.key))] if options.check else list(CASES)
    unknown = [c for c in options.cases if c not in known]
    if unknown:
        parser.error(
            f"no such {'check' if options.check else 'case'}: {', '.join(unknown)}; there are {', '.join(known)}"
        )
    import livegrad
    from livegrad.runtime.cuda import driver

    if not livegrad.cuda.is_available():
        what = "nothing can be checked" if options.check else "nothing can be timed"
        print(f"gpu.py: {what} without a GPU: {driver.missing()}", file=sys.stderr)
        return 2
    if options.check:
        return gpu_check.main(machine, options.cases, options.minutes, options.workers, options.report)
    print(machine(), flush=True)
    lines, within = measure(options.cases or list(CASES), options.rounds)
    if options.save:
        text = (
            f"# On a GPU\n\n{date.today()}, {machine()}; medians by the device's clock.\n\n" + "\n".join(lines) + "\n"
        )
        (HERE / "results" / "gpu.md").write_text(text, encoding="utf-8")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
