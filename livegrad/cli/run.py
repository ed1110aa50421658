"""``livegrad run``: a PyTorch program, unchanged."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from .. import compat
from .problem import Problem


def run(program: str, arguments: list[str], as_module: bool) -> int:
    """Run a file or a module as Python would, with livegrad in PyTorch's place."""
    if not as_module and not Path(program).exists():
        raise Problem(f"there is no file {program}")
    compat.install()
    sys.argv = [program, *arguments]
    if as_module:
        sys.path.insert(0, "")
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        path = Path(program).resolve()
        sys.path.insert(0, str(path.parent))
        runpy.run_path(str(path), run_name="__main__")
    return 0
