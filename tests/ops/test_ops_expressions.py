"""Results and errors of functions at the edges of what they take: the same as PyTorch's, or the same kind of error.

`expressions` has files of expressions over small tensors, each of which is evaluated in both libraries. A line that
begins with ! sets names, for the lines after it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from ops_support import Raised, assert_same, attempt

import livegrad

torch = pytest.importorskip("torch")

FILES = sorted((Path(__file__).parent / "expressions").glob("*.txt"))

# What PyTorch raises where it lacks a kernel or an overload; here it is the error of a wrong value then.
KINDS = {"NotImplementedError", "RuntimeError"}


def evaluate(line, names):
    try:
        return attempt(eval, line, names)
    except AttributeError as error:
        return Raised(error)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_expressions(path):
    settings = [
        {"torch": lib, "F": lib.nn.functional, "nn": lib.nn, "np": np, "inf": math.inf, "nan": math.nan}
        for lib in (torch, livegrad)
    ]
    wrong = []
    for line in path.read_text().splitlines():
        if line.startswith("!"):
            for names in settings:
                exec(line[1:], names)
            continue
        expected, got = (evaluate(line, names) for names in settings)
        if isinstance(expected, Raised):
            kinds = {type(e.error).__name__.strip("_") for e in (expected, got) if isinstance(e, Raised)}
            if not isinstance(got, Raised) or len(kinds) > 1 and kinds != KINDS or not str(got.error):
                wrong.append(f"{line}: {got!r}, not {expected!r}")
            continue
        try:
            assert not isinstance(got, Raised), got
            assert_same(got, expected, rtol=1e-5)
        except AssertionError as error:
            wrong.append(f"{line}: {error}")
    assert not wrong, "\n".join(wrong)
