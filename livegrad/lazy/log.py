"""The log of what was evaluated: one line a launch, where LIVEGRAD_LOG asks for it."""

from __future__ import annotations

import os
import sys
from typing import Any

kernels = "kernels" in os.environ.get("LIVEGRAD_LOG", "").split(",")


def launch(what: str, shape: tuple, reason: str, how: str, seconds: float) -> None:
    """Print one launch: operators, shape, why now, where the code came from (hit, compiled, tier 0), microseconds."""
    text = "x".join(map(str, shape)) or "()"
    print(f"livegrad: {what}  [{text}]  because: {reason}  {how}  {seconds * 1e6:.1f} us", file=sys.stderr)


def describe(nodes: list[Any]) -> str:
    """The operators of a piece, shortened."""
    names = [v.instr.op.name for v in nodes]
    if len(names) > 8:
        names = [*names[:4], f"... {len(names) - 7} more ...", *names[-3:]]
    return " ".join(names)
