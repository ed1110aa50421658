"""The programs for torch.compile: PyTorch's own cases, with the modules that their steps hold compiled."""

from __future__ import annotations

from types import FunctionType

import cases_sequence  # noqa: F401  (enters its cases)
import torch
from cases import CASES as EAGER


def _compiled(name: str):
    step = EAGER[name](torch)
    modules = [c.cell_contents for c in step.__closure__ or () if isinstance(c.cell_contents, torch.nn.Module)]
    for module in modules:
        module.compile()
    if modules:
        return step
    cells = {n: c.cell_contents for n, c in zip(step.__code__.co_freevars, step.__closure__ or ())}
    function = next((f for f in cells.values() if isinstance(f, FunctionType)), None)
    return step if function is None else torch.compile(step)


CASES = {name: (lambda name=name: _compiled(name)) for name in EAGER}
