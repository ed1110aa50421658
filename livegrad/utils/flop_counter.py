"""Counting the operations of products, convolutions, attention and recurrent layers by module, there and back."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from typing import Any

from ..nn.global_hooks import register_module_forward_hook, register_module_forward_pre_hook
from ..observe import WATCH, Observer

__all__ = ["FlopCounterMode"]


def _product(shapes: list, out: tuple) -> int:
    return 2 * prod(out) * shapes[0][-1]


def _added_product(shapes: list, out: tuple) -> int:
    return 2 * prod(out) * shapes[1][-1]


def _linear(shapes: list, out: tuple) -> int:
    return 2 * prod(out) * shapes[-1][-1]


def _convolution(shapes: list, out: tuple) -> int:
    return 2 * prod(out) * prod(shapes[1][1:])


def _transposed_convolution(shapes: list, out: tuple) -> int:
    return 2 * prod(shapes[0]) * prod(shapes[1][1:])


def _attention(shapes: list, out: tuple) -> int:
    q, k, v = shapes[:3]
    return 2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _recurrent(shapes: list, out: tuple) -> int:
    return 2 * prod(shapes[0][:-1]) * (prod(shapes[3]) + prod(shapes[4]))


# The count of an operator; PyTorch's name for what it calls; how often its backward pass computes as much again: for
# each of the operands at these places whose gradient is wanted, or (a number) altogether.
_COUNTS: dict[str, tuple] = {
    **dict.fromkeys(("matmul", "mm"), (_product, "aten.mm", (0, 1))),
    "bmm": (_product, "aten.bmm", (0, 1)),
    "addmm": (_added_product, "aten.addmm", (1, 2)),
    "baddbmm": (_added_product, "aten.baddbmm", (1, 2)),
    "linear": (_linear, "aten.addmm", (-2, -1)),
    **dict.fromkeys(("convolution", "conv1d", "conv2d", "conv3d"), (_convolution, "aten.convolution", (0, 1))),
    **dict.fromkeys(
        ("conv_transpose", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        (_transposed_convolution, "aten.convolution", (0, 1)),
    ),
    "scaled_dot_product_attention": (_attention, "aten._scaled_dot_product_attention", 2),
    **dict.fromkeys(("lstm", "gru", "rnntanh", "rnnrelu"), (_recurrent, "aten.addmm", 2)),
}
_BACKWARD = {
    "aten.addmm": "aten.mm", "aten.baddbmm": "aten.bmm", "aten.convolution": "aten.convolution_backward",
    "aten._scaled_dot_product_attention": "aten._scaled_dot_product_attention_backward",
}  # fmt: skip


class _Counter(Observer):
    """Counts, and passes everything on to whoever watched before."""

    def __init__(self, mode: FlopCounterMode, before: Observer | None):
        self._mode, self._before = mode, before or Observer()
        self._seen: Any = weakref.WeakKeyDictionary()  # node -> count, name, modules, operands with a share in backward
        for name in ("begin", "end", "postponed", "begin_batch", "begin_call", "begin_graph", "recorded", "range"):
            setattr(self, name, getattr(self._before, name))

    def operator(self, op: Any, tensors: Sequence, label: str | None, args: dict) -> Any:
        made = self._before.operator(op, tensors, label, args)
        if op.name in _COUNTS:
            formula, name, shares = _COUNTS[op.name]
            first = made[0] if isinstance(made, tuple) else made
            count = formula([tuple(t.shape) for t in tensors], tuple(first.shape))
            if name == "aten.mm" and len(first.shape) > 2:
                name = "aten.bmm"
            modules = tuple(self._mode._open)
            self._mode._add(name, count, modules)
            node = getattr(first, "grad_fn", None)
            if node is not None:
                self._seen[node] = count, name, modules, shares
        return made

    def node(self, node: Any, g: Any, recording: bool, edges: tuple) -> Any:
        seen = self._seen.get(node)
        if seen is not None:
            count, name, modules, shares = seen
            times = shares if isinstance(shares, int) else sum(edges[i] is not None for i in shares)
            self._mode._add(_BACKWARD.get(name, name), count * times, modules)
        return self._before.node(node, g, recording, edges)


class FlopCounterMode:
    """Context manager that counts the floating-point operations of products, two for a multiply-add, by module.

    What is elementwise, or a reduction, is not counted, as in PyTorch. A backward pass counts for the modules of its
    forward pass. depth: how many levels of modules the table has. display: print it at the end.

    >>> import livegrad
    >>> from livegrad.utils.flop_counter import FlopCounterMode
    >>> model = livegrad.nn.Sequential(livegrad.nn.Linear(8, 4), livegrad.nn.Linear(4, 2))
    >>> with FlopCounterMode(display=False) as counter:
    ...     model(livegrad.ones(10, 8)).sum().backward()
    >>> counter.get_total_flops(), counter.get_flop_counts()["Sequential.1"]
    (1760, {'aten.addmm': 160, 'aten.mm': 320})
    """

    def __init__(self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: Any = None):
        if custom_mapping:
            raise NotImplementedError("counts of a program's own operators (custom_mapping) are not there")
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict[str, int]] = {}
        self._open: list[str] = []
        self._undo: list = []

    def _add(self, name: str, count: int, modules: Sequence[str]) -> None:
        for module in ("Global", *dict.fromkeys(modules)):
            self.flop_counts.setdefault(module, defaultdict(int))[name] += count

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self._before = WATCH.observer
        paths: dict[int, str] = {}

        def enter(module: Any, inputs: Any) -> None:
            if not self._open:
                top = type(module).__name__
                paths.update({id(m): f"{top}.{name}" if name else top for name, m in module.named_modules()})
            self._open.append(paths.get(id(module), type(module).__name__))

        def leave(module: Any, inputs: Any, result: Any) -> None:
            if self._open:
                self._open.pop()

        handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
        self._undo = [handle.remove for handle in handles]
        WATCH.observer = _Counter(self, self._before)
        return self

    def __exit__(self, *exc: Any) -> None:
        WATCH.observer = self._before
        for undo in self._undo:
            undo()
        self._open.clear()
        if self.display:
            print(self.get_table())

    def get_total_flops(self) -> int:
        """All that was counted."""
        return sum(self.flop_counts.get("Global", {}).values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """Counts by module ("Global" for all; ``Class.path`` below the module that was called), then by operator."""
        return {module: dict(counts) for module, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text, with the share of each module in all."""
        depth = self.depth if depth is None else depth
        total = self.get_total_flops()
        rows = [("Module", "FLOP", "% Total")]
        for module, counts in self.flop_counts.items():
            level = 0 if module == "Global" else module.count(".") + 1
            if level > depth:
                continue
            for indent, name, count in [(0, module, sum(counts.values())), *((1, n, c) for n, c in counts.items())]:
                text = "  " * (level + indent) + (" - " if indent else "") + name
                rows.append((text, f"{count:,}", f"{100 * count / total if total else 0:.2f}%"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        return "\n".join((lines[0], "  ".join("-" * w for w in widths), *lines[1:]))
