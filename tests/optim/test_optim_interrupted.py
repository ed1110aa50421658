"""Optimizers that were interrupted (Ctrl-C): whatever the place, the next step finds a whole state."""

import json
import os
import subprocess
import sys

import pytest

# Compiled functions are not traced, so this runs where there are none.
PROGRAM = """
import json, os, sys
import livegrad
import livegrad.optim

FOLDER = os.path.dirname(livegrad.optim.__file__)
name, options = json.loads(sys.argv[1])


class Interrupting:
    '''Raises KeyboardInterrupt at the line of the optimizers' files that is reached as number `left`.'''

    def __init__(self, left):
        self.left = left

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        if event == "line":
            self.left -= 1
            if self.left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


def made():
    livegrad.manual_seed(0)
    params = [livegrad.nn.Parameter(livegrad.randn(3, 4)) for _ in range(2)]
    return params, getattr(livegrad.optim, name)(params, **options)


def step(params, optimizer):
    def loss():
        optimizer.zero_grad()
        total = sum((p * p).sum() for p in params)
        total.backward()
        return total

    if name != "LBFGS":
        loss()
    return optimizer.step(loss if name == "LBFGS" else None)


def names(optimizer):
    return [sorted(s) for s in optimizer.state.values()]


params, optimizer = made()
step(params, optimizer)
step(params, optimizer)
wanted = names(optimizer)
for first in (True, False):
    k = 0
    while True:
        params, optimizer = made()
        if not first:
            step(params, optimizer)
        interrupting = Interrupting(k)
        sys.settrace(interrupting)
        try:
            step(params, optimizer)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        if interrupting.left >= 0:
            break
        step(params, optimizer)
        assert names(optimizer) == wanted, (k, names(optimizer), wanted)
        assert all(bool(p.isfinite().all()) for p in params), k
        k += 1
    assert k > 5, k
"""

CASES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adagrad", {}),
    ("ASGD", {}),
    ("Rprop", {}),
    ("Adafactor", {}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Muon", {"ns_steps": 1}),
    ("LBFGS", {"max_iter": 2}),
    ("LBFGS", {"max_iter": 2, "line_search_fn": "strong_wolfe"}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda x: x if isinstance(x, str) else str(len(x)))
def test_the_next_step_after_an_interruption_anywhere(name, options):
    environment = {**os.environ, "LIVEGRAD_NATIVE": "0"}
    command = [sys.executable, "-c", PROGRAM, json.dumps([name, options])]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
