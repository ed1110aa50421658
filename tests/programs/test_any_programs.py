"""Random programs give in livegrad what they give in PyTorch, in every way of evaluating.

A failure prints the program, reduced to the lines that matter; any other seed can be tried with `Program(seed).run()`.
"""

from __future__ import annotations

import contextlib

import pytest
from any_programs import Mismatch, Program, shortest

import livegrad

MODES = {
    "deferred": contextlib.nullcontext,
    "eager": livegrad.eager,
    "interpreted": lambda: livegrad.compiling("never"),
}
BLOCK = 50


@pytest.mark.parametrize("mode, start", [(mode, start) for mode in MODES for start in range(0, 200, BLOCK)])
def test_programs(mode, start):
    for seed in range(start, start + BLOCK):
        with MODES[mode]():
            try:
                Program(seed).run()
            except Mismatch as found:
                raise AssertionError(f"seed {seed}: {shortest(found.lines, found.kind)}") from None
