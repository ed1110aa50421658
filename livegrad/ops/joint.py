"""Operators whose gradients come from one pass together, and are not a function for each tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..native import hot
from ..tensor import Tensor
from .operator import Operator


class JointOperator(Operator):
    """An operator whose backward is one function for all tensors.

    backward(node, g, saved): the gradients of the tensors in their order, as values; None where there is none. `g` is
    the gradient of the result, or a list of them where there are several; `saved` holds the tensors by name, and of
    the results those that `kept` numbers, as "result_NUMBER".
    composed(tensors, args): the results in plain operators on tensors; from it come derivatives of the gradient.
    """

    __slots__ = ("_backward", "_composed", "_results")

    def __init__(
        self, name: str, label: str, tensors: tuple, forward: Callable, backward: Callable, composed: Callable,
        kept: Sequence[int],
    ):  # fmt: skip
        super().__init__(name, forward, tensors, dict.fromkeys(tensors, _together), label + "Backward", False)
        self._backward, self._composed = backward, composed
        self._results = tuple((f"result_{i}", i) for i in kept)

    @hot
    def _kept(self, edges: tuple) -> tuple:
        return tuple((n, i) for i, n in enumerate(self.tensors[: len(edges)])), self._results, True

    @hot
    def gradients(self, node: Any, g: Any, saved: dict, edges: tuple) -> tuple:
        gs = g if isinstance(g, (list, tuple)) else (g,)
        recorded = any(isinstance(x, Tensor) for x in gs)
        found = self._recorded(node, gs, saved) if recorded else self._backward(node, g, saved)
        return tuple(x if edge is not None else None for x, edge in zip(found, edges))

    def _recorded(self, node: Any, gs: Sequence, saved: dict) -> list:
        """The gradients as tensors that can be differentiated again."""
        from ..autograd import grad
        from ..autograd.mode import enable_grad

        with enable_grad():
            # Through aliases, so that an operand that was computed from another one does not count for both.
            given = [saved[n] for n in self.tensors[: len(node.next)]]
            given = [t.view_as(t) if t.requires_grad else t for t in given]
            made = self._composed(given, node.args)
            made = made if isinstance(made, tuple) else (made,)
            pairs = [(y, g) for y, g in zip(made, gs) if y is not None and g is not None]
            wanted = [t for t in given if t.requires_grad]
            results, weights = [y for y, _ in pairs], [g for _, g in pairs]
            found = iter(grad(results, wanted, weights, create_graph=True, allow_unused=True))
        return [next(found) if t.requires_grad else None for t in given]


def _together(g: Any) -> Any:
    raise RuntimeError("the gradients of this operator come from one pass")
