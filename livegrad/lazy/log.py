"""The log of what was evaluated: one line a launch, where LIVEGRAD_LOG=kernels asks for it.

livegrad: mul add exp sum      [4096x1024]  reduction    hit            812.4 us  train.py:31
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ..site import user_frame

kernels = "kernels" in os.environ.get("LIVEGRAD_LOG", "").replace(" ", "").split(",")


def launch(what: str, shape: tuple, reason: str, how: str, seconds: float) -> None:
    """Print one launch: operators, shape, why now, where the code came from, how long it took, and the user's line.

    how: "hit" (the kernel was there), "compiled", "from disk", or "tier 0" (no kernel: operator by operator).
    """
    size = f"[{'x'.join(map(str, shape))}]"
    frame = user_frame()
    where = "" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
    text = f"livegrad: {what:<28}  {size:<12}  {reason:<24}  {how:<9}  {seconds * 1e6:>9.1f} us  {where}"
    print(text.rstrip(), file=sys.stderr)


def origin(kernel: Any) -> str:
    """Where a kernel's code came from, told once; from then on it is a hit."""
    if kernel is None:
        return "filled"  # nothing to reduce
    found, kernel.origin = kernel.origin, "hit"
    return found


def describe_reduction(piece: Any, name: str) -> str:
    """A reduction with the operators that feed it."""
    return name if piece is None else f"{describe(piece.nodes)} {name}"


def describe(nodes: list[Any]) -> str:
    """The operators of a piece, shortened."""
    names = [v.instr.op.name for v in nodes]
    if len(names) > 8:
        names = [*names[:4], f"... {len(names) - 7} more ...", *names[-3:]]
    return " ".join(names)
