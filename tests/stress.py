"""Stress, not part of the tests: `python tests/stress.py [SCENARIO ...] [--seconds 60] [--seed N]`.

Interruptions, threads, forks, finalizers and exits at random moments, while kernels are being compiled all the time.
Each run is a process of its own with a seed; a run that crashes, hangs, complains or computes something wrong is
printed with what it takes to repeat it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

# What every run begins with: programs of ever new structure, and a computation whose result is known.
COMMON = """
import faulthandler, gc, os, random, signal, sys, threading, time
faulthandler.enable()
seed = int(sys.argv[1])
dice = random.Random(seed)
import numpy as np
import livegrad

def check():
    x = livegrad.arange(1000.0).div(1000).requires_grad_()
    y = ((x * 2).sin() + x.exp()).sum()
    y.backward()
    a = np.arange(1000.0) / 1000
    assert abs(y.item() - (np.sin(2 * a) + np.exp(a)).sum()) < 0.1, y
    assert np.abs(x.grad.numpy() - (2 * np.cos(2 * a) + np.exp(a))).max() < 1e-4
    big = livegrad.ones(1 << 18)
    assert ((big * 3 + 1).sum().item(), (big[: 1 << 9].view(1, -1) @ big[: 1 << 9]).item()) == (1 << 20, 512.0)

def program(dice, n=6):
    x = livegrad.full((50, 8), 0.5, requires_grad=True)
    y = x
    for i in range(n):
        k = dice.randrange(6)
        y = [lambda: y * 1.1, lambda: y + i, lambda: y.sin(), lambda: y.tanh(), lambda: y.exp().log(), lambda: y - x][k]()
    y.sum(dice.randrange(2)).mean().backward()
    assert np.isfinite(x.grad.numpy()).all()

# An alarm raises KeyboardInterrupt, which Python drops where that happens to be in a finalizer: hence `rung`.
rung = []
def alarm(*_):
    rung.append(1)
    raise KeyboardInterrupt
def set_alarm(seconds):
    rung.clear()
    signal.setitimer(signal.ITIMER_REAL, seconds)
signal.signal(signal.SIGALRM, alarm)

class Model:
    def __init__(self):
        nn = livegrad.nn
        self.net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))
        self.optimizer = livegrad.optim.Adam(self.net.parameters())
    def step(self):
        self.optimizer.zero_grad()
        loss = livegrad.nn.functional.cross_entropy(self.net(livegrad.randn(64, 16)), livegrad.randint(0, 4, (64,)))
        loss.backward()
        self.optimizer.step()
        return loss.item()
"""

SCENARIOS = {
    "interrupts": """
        until, caught = time.monotonic() + 4, 0
        while time.monotonic() < until:
            try:
                try:
                    set_alarm(dice.uniform(1e-4, 0.03))
                    while not rung: program(dice, dice.randrange(1, 9))
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                caught += 1
            livegrad.set_grad_enabled(True)
        assert caught > 20, caught
        check()
    """,
    "interrupted threads": """
        stop, problems = False, []
        def work(seed):
            own = random.Random(seed)
            try:
                while not stop: program(own)
            except BaseException as problem: problems.append(problem)
        threads = [threading.Thread(target=work, args=(seed + i,)) for i in range(3)]
        for t in threads: t.start()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            try:
                try:
                    set_alarm(dice.uniform(1e-4, 0.05))
                    while not rung: program(dice)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt: pass
            livegrad.set_grad_enabled(True)
        stop = True
        for t in threads: t.join()
        assert not problems, problems
        check()
    """,
    "forks": """
        import warnings
        warnings.simplefilter("ignore")
        stop = False
        def work(seed):
            own = random.Random(seed)
            while not stop: program(own)
        threads = [threading.Thread(target=work, args=(seed + i,)) for i in range(2)]
        for t in threads: t.start()
        try:
            for n in range(12):
                for _ in range(3): program(dice)
                time.sleep(dice.uniform(0, 0.02))
                pid = os.fork()
                if not pid:
                    status = 1
                    try:
                        program(dice); check(); program(dice)
                        if dice.random() < 0.3:
                            grandchild = os.fork()
                            if not grandchild:
                                check()
                                os._exit(0)
                            assert os.waitpid(grandchild, 0)[1] == 0
                        status = 0
                    finally:
                        if dice.random() < 0.5: os._exit(status)
                        stop = True
                        threads = []
                        break
                ended, status = os.waitpid(pid, 0)
                assert status == 0, status
        finally:
            stop = True
            for t in threads: t.join()
        check()
    """,
    "forked workers": """
        import multiprocessing, warnings
        warnings.simplefilter("ignore")
        def work(n):
            program(random.Random(n)); check()
            return n
        check()
        for _ in range(3):
            with multiprocessing.get_context("fork").Pool(3) as pool:
                for _ in range(3): program(dice)
                assert pool.map(work, range(6)) == list(range(6))
        data = livegrad.utils.data.TensorDataset(livegrad.arange(40.0))
        assert sum(b[0].sum().item() for b in livegrad.utils.data.DataLoader(data, 4, num_workers=2)) == 780
        check()
    """,
    "finalizers": """
        gc.set_threshold(20, 2, 2)
        class Cycle:
            made = 0
            def __init__(self): self.own, self.x = self, livegrad.ones(7)
            def __del__(self):
                Cycle.made += (self.x * 2 + 1).sum().item() == 21
        stop = False
        def work():
            own = random.Random(seed + 1)
            while not stop:
                Cycle(); program(own)
        threads = [threading.Thread(target=work) for _ in range(2)]
        for t in threads: t.start()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            Cycle(); program(dice)
        stop = True
        for t in threads: t.join()
        assert Cycle.made > 5
        check()
    """,
    "exits": """
        model = Model()
        if dice.random() < 0.5: threading.Thread(target=lambda: [program(dice) for _ in range(10000)], daemon=True).start()
        until = time.monotonic() + dice.uniform(0, 0.5)
        while time.monotonic() < until:
            model.step(); program(dice)
        if dice.random() < 0.3: sys.exit()
    """,
    "training": """
        model = Model()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            try:
                try:
                    set_alarm(dice.uniform(1e-4, 0.02))
                    while not rung: assert np.isfinite(model.step())
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt: pass
            except RuntimeError as lost:
                assert "interrupted" in str(lost), lost
                model = Model()
            livegrad.set_grad_enabled(True)
            try:
                for p in model.net.parameters(): p.sum().item()
            except RuntimeError as lost:
                assert "interrupted" in str(lost), lost
                model = Model()
        check()
    """,
    # The parent sends this one a Ctrl-C at a random moment: it must end as Python ends then.
    "ctrl-c": """
        model = Model()
        while True:
            model.step(); program(dice)
    """,
}


def run(name: str, seed: int, folder: str) -> str:
    """One run; what is wrong with it, or an empty string."""
    dice = random.Random(seed)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]),
        "LIVEGRAD_CACHE_DIR": "" if dice.random() < 0.6 else folder,
        "LIVEGRAD_COMPILE": dice.choice(["auto", "always", "always"]),
        "LIVEGRAD_NUM_THREADS": str(dice.choice([1, 2, 4])),
        "LIVEGRAD_NATIVE": dice.choice(["0", "1", "always"]),
        "LIVEGRAD_STRICT": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", COMMON + textwrap.dedent(SCENARIOS[name]), str(seed)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    expected = 0
    if name == "ctrl-c":
        expected = -signal.SIGINT
        time.sleep(dice.uniform(0.6, 2.0))
        process.send_signal(signal.SIGINT)
    try:
        out, _ = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler shows where every thread is
        out, _ = process.communicate()
        return "hangs\n" + out
    out = re.sub(r"Exception ignored in: .*(\n.*)+?\nKeyboardInterrupt: *\n", "", out)
    if process.returncode != expected or (out and name != "ctrl-c"):
        return f"status {process.returncode}, expected {expected}\n{out}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--jobs", type=int, default=3)
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenario {unknown.pop()!r}; there are: {', '.join(SCENARIOS)}")
    names = options.scenarios or list(SCENARIOS)
    until = time.monotonic() + options.seconds
    counts = dict.fromkeys(names, 0)
    failed = 0
    turns = itertools.cycle(names) if options.seed is None else iter(names)
    seeds = itertools.count(random.randrange(1 << 30)) if options.seed is None else itertools.repeat(options.seed)

    def runs(folder: str) -> None:
        nonlocal failed
        for name in turns:
            seed = next(seeds)
            wrong = run(name, seed, folder)
            counts[name] += 1
            if wrong:
                failed += 1
                print(f"--- {name!r} --seed {seed}: {wrong}\n", flush=True)
            if time.monotonic() > until:
                break

    with tempfile.TemporaryDirectory() as folder:
        threads = [threading.Thread(target=runs, args=(folder,)) for _ in range(options.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print("runs:", ", ".join(f"{count} {name}" for name, count in counts.items()), f"; {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
