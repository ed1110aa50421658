"""Times livegrad against other libraries: `python benchmarks/peers.py --python jax=/path/to/python ... [CASE ...]`.

Each library runs in a process of its own, with the interpreter given for it: a Python in whose environment it is
installed. A library that has none, that cannot be imported, or that has no program for a case is left out. livegrad,
PyTorch and torch.compile run with this interpreter unless another one is given. The programs are those of cases*.py,
and their like in peers_programs/, written as each library's users write them. --save writes results/peers.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from run import cpu_name, show, threads

HERE = Path(__file__).parent
PEERS = {  # what to import for the version, and the module with its programs, where they are not those of cases*.py
    "livegrad": ("livegrad", None),
    "torch": ("torch", None),
    "compile": ("torch", "compiled_cases"),
    "jax": ("jax", "jax_cases"),
    "tinygrad": ("tinygrad", "tinygrad_cases"),
    "mlx": ("mlx", "mlx_cases"),
    "jittor": ("jittor", "jittor_cases"),
}
HERE_TOO = ("livegrad", "torch", "compile")
PROGRAMS = ("mlp_adam", "xor_sgd", "xor_adam", "mnist_cnn", "gpt_small", "lstm", "softmax", "layer_norm")
SECONDS = 0.4


def worker(peer: str) -> None:
    """Say the version; then answer each case name on standard input with seconds per step, or why there are none."""
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE / "peers_programs")]
    sys.stdout, answers = sys.stderr, sys.stdout  # some libraries print
    package, module = PEERS[peer]
    importlib.import_module(package)
    if package == "torch":
        importlib.import_module("torch").set_num_threads(threads())
    if module is None:
        importlib.import_module("cases_sequence")
        library = importlib.import_module(package)
        cases = {k: (lambda f=f: f(library)) for k, f in importlib.import_module("cases").CASES.items()}
    else:
        cases = importlib.import_module(module).CASES
    from importlib.metadata import version

    try:
        answer = version(package)
    except Exception:
        answer = importlib.import_module(package).__version__
    print(json.dumps(answer), file=answers, flush=True)
    ready: dict = {}
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in ready:
                ready[name] = cases[name]()
                until = time.perf_counter() + SECONDS
                while time.perf_counter() < until:
                    ready[name]()
            step, samples = ready[name], []
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                started = time.perf_counter()
                step()
                samples.append(time.perf_counter() - started)
            result = samples
        except Exception as error:
            result = "no program" if isinstance(error, KeyError) and name not in cases else f"{type(error).__name__}"
            print(f"{peer}, {name}: {error}", file=sys.stderr)
        print(json.dumps(result), file=answers, flush=True)


def start(peer: str, python: str) -> subprocess.Popen:
    command = [python, __file__, "--worker", peer]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads())}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(process: subprocess.Popen, name: str) -> str:
    """One turn of a library. Outside its turns it is stopped: some keep their threads spinning."""
    stop, go = getattr(signal, "SIGSTOP", None), getattr(signal, "SIGCONT", None)
    if go is not None:
        process.send_signal(go)
    process.stdin.write(name + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if stop is not None:
        process.send_signal(stop)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="*", default=PROGRAMS)
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--only", nargs="*", choices=PEERS, help="leave the other libraries out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    pythons = dict.fromkeys(HERE_TOO, sys.executable) | dict(p.split("=", 1) for p in options.python)
    processes, versions = {}, {}
    for peer, python in pythons.items():
        if peer not in PEERS:
            parser.error(f"unknown library {peer!r}; there are: {', '.join(PEERS)}")
        if options.only and peer not in options.only:
            continue
        process = start(peer, python)
        answer = process.stdout.readline()
        if answer:
            processes[peer], versions[peer] = process, json.loads(answer)
        else:
            print(f"{peer} is left out: it could not be started with {python}", file=sys.stderr)
    samples: dict[tuple, list] = {}
    missing: dict[tuple, str] = {}
    for round_number in range(options.rounds + 1):
        for name in options.cases:
            for peer, process in list(processes.items())[:: 1 if round_number % 2 else -1]:
                if (name, peer) in missing:
                    continue
                answer = ask(process, name)
                found = json.loads(answer) if answer else "stopped"
                if isinstance(found, str):
                    missing[name, peer] = found
                elif round_number:  # the first round warms up
                    samples.setdefault((name, peer), []).extend(found)
    for process in processes.values():
        if hasattr(signal, "SIGCONT"):
            process.send_signal(signal.SIGCONT)
        process.stdin.close()
        process.wait()
    lines = ["| case | " + " | ".join(processes) + " |", "|---|" + "---:|" * len(processes)]
    for name in options.cases:
        ours = statistics.median(samples[name, "livegrad"]) if (name, "livegrad") in samples else None
        cells = []
        for peer in processes:
            if (name, peer) not in samples:
                cells.append("" if missing.get((name, peer)) == "no program" else missing.get((name, peer), ""))
                continue
            took = statistics.median(samples[name, peer])
            cells.append(show(took) if peer == "livegrad" or ours is None else f"{show(took)} ({ours / took:.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    print(table)
    if options.save:
        told = ", ".join(f"{peer} {version}" for peer, version in versions.items())
        head = (
            f"# livegrad and others, {date.today()}\n\nMedians of {options.rounds} rounds, each library in its own "
            f"process, taking turns; in brackets livegrad's time divided by theirs, so below 1 livegrad is faster.\n\n"
            f"{cpu_name()}, {threads()} threads. {told}.\n\n"
        )
        target = HERE / "results" / "peers.md"
        target.write_text(head + table + "\n")
        print(f"written to {target}")


if __name__ == "__main__":
    main()
