"""Every check that needs a GPU, one after the other, and a report of them: what `gpu.py --check` does.

The report is written anew after each check, so that what is known is there when the time is up. A check is a command;
of one that runs pytest the report names each test that failed, with what it said.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "benchmarks" / "results" / "gpu_check.md"
MINUTES = 9.0  # of each check
TOLD = 60  # failures of a check that are written out
BASIC = ("add", "sum", "softmax", "matmul", "gather", "scatter_add", "cumsum", "sort", "conv2d", "det", "max_pool2d")
STRICT = {"LIVEGRAD_STRICT": "1"}  # a kernel that cannot be made or loaded is a failure, and not left to CuPy


class Check(NamedTuple):
    """A command that ends with 0 if all is well.

    key: a word for the command line; of those with a slash, what is before it names all of them. takes: minutes,
    roughly, on an H100 with 16 cores. missing: why it cannot run. tests: whether the command is pytest's.
    """

    key: str
    name: str
    command: list[str]
    environment: dict[str, str]
    takes: float = 1.0
    missing: str = ""
    tests: bool = True

    @property
    def group(self) -> str:
        """The part of the key that names this check and its relatives."""
        return self.key.partition("/")[0]


def checks(workers: int = 1) -> list[Check]:
    """Everything that is to be seen on a GPU, the shortest and most basic first."""
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "on_gpu", "--tb=short"]
    many = [*test, *(["-n", str(workers), "--max-worker-restart=100"] if workers > 1 else [])]
    sanitizer = shutil.which("compute-sanitizer") or ""
    basic = ["tests/ops/test_ops_parity.py", "-k", " or ".join(f"[{name}]" for name in BASIC)]
    device = {**STRICT, "LIVEGRAD_TEST_DEVICE": "cuda"}
    return [
        Check("info", "what is installed", [sys.executable, "-m", "livegrad", "info"], {}, 0.1, tests=False),
        Check("names", "CuPy has what is asked of it", [*test, "tests/cuda/test_cupy_names.py"], STRICT, 0.2),
        Check("first", "an operator of each kind", [*test, *basic], STRICT, 0.5),
        Check("parity", "every operator's values and gradients are the CPU's",
              [*many, "tests/ops/test_ops_parity.py"], STRICT, 5),
        Check("cuda", "what CUDA's tests check by themselves", [*many, "tests/cuda"], STRICT, 6),
        Check("training", "an MLP, a CNN and a GPT are trained with the CPU's losses",
              [*test, "tests/cuda/test_training.py"], STRICT, 2),
        Check("random", "random numbers are those of the CPU", [*many, "tests/test_philox.py"], STRICT, 1),
        Check("graphs", "the same with CUDA graphs", [*many, "tests/cuda/test_training.py", "tests/cuda/test_graphs.py",
              "tests/ops/test_ops_parity.py"], {**STRICT, "LIVEGRAD_CUDA_GRAPHS": "1"}, 5),
        *(
            Check(f"ops/{path.stem.removeprefix('test_ops_')}", "the operators' tests, on the GPU",
                  [*many, path.relative_to(ROOT).as_posix()], device)
            for path in sorted((ROOT / "tests" / "ops").glob("test_*.py"))
        ),
        *(
            Check(
                tool, f"compute-sanitizer, {tool}",
                [sanitizer, "--tool", tool, "--error-exitcode", "1", "--target-processes", "all", *test, *basic],
                STRICT, 5, "" if sanitizer else "compute-sanitizer is not installed",
            )
            for tool in ("memcheck", "racecheck")
        ),
    ]  # fmt: skip


class Outcome(NamedTuple):
    """What came of a check. code: the command's; None where it did not run. failures: (test, what it said)."""

    check: Check
    code: int | None
    seconds: float = 0.0
    summary: str = ""
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def word(self) -> str:
        """What became of it, in a word or two."""
        if self.code is None:
            return f"not done: {self.check.missing}"
        return "done" if self.code == 0 else "FAILED"


def parallel() -> int:
    """How many processes run tests side by side, where pytest can do that."""
    return min(8, os.cpu_count() or 1) if importlib.util.find_spec("xdist") is not None else 1


def run(check: Check, minutes: float) -> Outcome:
    """Do a check, for no longer than that."""
    if check.missing:
        return Outcome(check, None)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "tests.xml"
        log = Path(folder) / "log"
        command = [*check.command, *([f"--junitxml={written}"] if check.tests else [])]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": paths, **check.environment}
        with log.open("w") as out:
            code = _ended(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out), minutes * 60)
        text = log.read_text(errors="replace")
        print(text, flush=True)
        failures = failed_tests(written) if written.exists() else ()
    lines = [line for line in text.strip().splitlines() if line.strip()]
    summary = (lines[-1] if lines else "") if check.tests else "\n".join(lines)
    if code == _STOPPED:
        summary = f"stopped after {minutes:.1f} minutes; before that: {summary}"
    if code and not failures and check.tests:
        summary += "\n" + "\n".join(lines[-40:])
    return Outcome(check, code, time.perf_counter() - started, summary, failures)


_STOPPED = 124


def _ended(process: subprocess.Popen, seconds: float) -> int:
    """The exit code of a process, which is stopped when its time is up: first so that pytest can tell what it knows."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        return _STOPPED


def failed_tests(written: Path) -> tuple[tuple[str, str], ...]:
    """(test, the end of what it said) of the tests that failed, from pytest's file of results."""
    found = []
    try:
        tree = ElementTree.parse(written)
    except ElementTree.ParseError:  # it was stopped while it wrote
        return ()
    for case in tree.iter("testcase"):
        for kind in ("failure", "error"):
            for node in case.findall(kind):
                said = (node.get("message") or "").strip()[:800]
                where = "\n".join((node.text or "").strip().splitlines()[-4:])[:400]
                found.append((f"{case.get('classname')}::{case.get('name')}", f"{said}\n{where}".strip()))
    return tuple(found)


def report(outcomes: list[Outcome], waiting: list[Check], machine: str) -> str:
    """The report, in Markdown."""
    lines = ["# Checks on a GPU", "", f"{date.today()}, {machine}.", "", "| check | | minutes | |", "|---|---|---|---|"]
    for o in outcomes:
        last = o.summary.splitlines()[0] if o.check.tests and o.summary else ""
        lines.append(f"| {o.check.key}: {o.check.name} | {o.word} | {o.seconds / 60:.1f} | {last.strip('= ')} |")
    lines += [f"| {c.key}: {c.name} | not yet | | |" for c in waiting]
    for o in outcomes:
        if o.failures or o.code or not o.check.tests:
            lines += ["", f"## {o.check.key}", ""]
        if (o.code and not o.failures) or not o.check.tests:
            lines += ["```", o.summary, "```"]
        for test, said in o.failures[:TOLD]:
            lines += [f"* `{test}`", "  ```", *[f"  {line}" for line in said.splitlines()], "  ```"]
        if len(o.failures) > TOLD:
            lines.append(f"* and {len(o.failures) - TOLD} more")
    return "\n".join(lines) + "\n"


def main(
    machine: Callable[[], str], keys: list[str], minutes: float = MINUTES, workers: int | None = None,
    target: Path = REPORT,
) -> int:  # fmt: skip
    """Do the checks of these names, or all, whatever fails; returns the exit code.

    minutes: of each check. workers: processes side by side. target: where the report goes.
    """
    wanted = [c for c in checks(parallel() if workers is None else workers) if not keys or {c.key, c.group} & {*keys}]
    outcomes: list[Outcome] = []
    try:
        where = machine()
    except Exception as error:  # the checks are there to find out why
        where = f"a machine that cannot be told ({type(error).__name__}: {error})"
    print(where, flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    for k, each in enumerate(wanted):
        print(f"--- {each.key}: {each.name} (about {each.takes:g} minutes)", flush=True)
        outcomes.append(run(each, minutes))
        print(f"    {outcomes[-1].word} in {outcomes[-1].seconds:.0f} s", flush=True)
        target.write_text(report(outcomes, wanted[k + 1 :], where), encoding="utf-8")
    failed = [o.check.key for o in outcomes if o.code]
    print(f"{len(failed)} checks failed: {' '.join(failed)}" if failed else "every check that could be done is done")
    print(f"the report is {target}")
    return 1 if failed else 0
