"""Random programs over views and in-place operators do in livegrad what they do in PyTorch.

A failure prints the program; any other seed can be tried with `Program(seed, gradients).run()`.
"""

from __future__ import annotations

import contextlib

import pytest
from views_programs import Program

import livegrad

MODES = {
    "deferred": contextlib.nullcontext,
    "eager": livegrad.eager,
    "interpreted": lambda: livegrad.compiling("never"),
    "compiled": lambda: livegrad.compiling("always"),
}
BLOCK = 100


def blocks(counts: dict[str, int]) -> list:
    return [(mode, start) for mode, count in counts.items() for start in range(0, count, BLOCK)]


@pytest.mark.parametrize("mode, start", blocks({"deferred": 800, "eager": 300, "interpreted": 300, "compiled": 100}))
def test_programs(mode, start):
    for seed in range(start, start + BLOCK):
        with MODES[mode]():
            Program(seed).run()


@pytest.mark.parametrize("mode, start", blocks({"deferred": 700, "eager": 300, "interpreted": 100}))
def test_programs_with_gradients(mode, start):
    for seed in range(start, start + BLOCK):
        with MODES[mode]():
            Program(seed, gradients=True).run()
