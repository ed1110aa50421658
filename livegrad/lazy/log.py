"""The log of what was evaluated: one line a launch, where LIVEGRAD_LOG=kernels asks for it.

livegrad: mul add exp sum      [4096x1024]  reduction    hit            812.4 us  train.py:31
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from ..devices import cpu
from ..native import hot
from ..observe import WATCH, Observer
from ..settings import unusable
from ..site import user_frame


class _Launch:
    """One line of the log before it is printed."""

    __slots__ = ("what", "size", "reason", "started")

    def __init__(self, what: str, size: str, reason: str):
        self.what, self.size, self.reason = what, size, reason
        self.started = perf_counter()


class Log(Observer):
    """Prints a line for each launch: operators, shape, why now, where the code came from, how long, the user's line.

    how: "hit" (the kernel was there), "compiled", "from disk", or "tier 0" (no kernel: operator by operator).
    """

    def begin(self, name: str, nodes: Sequence, leaves: Sequence, outputs: Sequence, shape: tuple, reason: str) -> Any:
        size = f"[{'x'.join(map(str, shape))}]"
        for v in leaves:
            if v.device is not cpu:
                size += f" {v.device}"
                break
        return _Launch(describe(operators(nodes, name)), size, reason)

    def end(self, token: Any, how: str) -> None:
        if token is None:  # a library call, or several launches together
            return
        self.line(token.what, token.size, token.reason, how, perf_counter() - token.started)

    postponed = end

    def begin_graph(self, launches: int) -> Any:
        return _Launch(f"CUDA graph of {launches} launches", "", "put off")

    def line(self, what: str, size: str, reason: str, how: str, seconds: float) -> None:
        """Print one launch; size: its shape, and the device unless that is the CPU."""
        frame = user_frame()
        where = "" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        text = f"livegrad: {what:<28}  {size:<12}  {reason:<24}  {how:<9}  {seconds * 1e6:>9.1f} us  {where}"
        print(text.rstrip(), file=sys.stderr)


_WANTED = [word for word in os.environ.get("LIVEGRAD_LOG", "").replace(" ", "").split(",") if word]
if set(_WANTED) - {"kernels"}:
    raise unusable("LIVEGRAD_LOG", "kernels", ",".join(_WANTED))
if _WANTED:
    WATCH.observer = Log()


@hot
def origin(kernel: Any) -> str:
    """Where a kernel's code came from, told once; from then on it is a hit."""
    if kernel is None:
        return "filled"  # nothing to reduce
    found, kernel.origin = kernel.origin, "hit"
    return found


def operators(nodes: Sequence, name: str) -> list[str]:
    """The names of the operators of a piece, and of the reduction that ends it, if any."""
    names = [v.instr.op.name for v in nodes]
    return [*names, name] if name else names


def describe(names: list[str]) -> str:
    """Names of operators, shortened; without the underscore of those that users do not call."""
    names = [name.lstrip("_") for name in names]
    if len(names) > 8:
        names = [*names[:4], f"... {len(names) - 7} more ...", *names[-3:]]
    return " ".join(names)
