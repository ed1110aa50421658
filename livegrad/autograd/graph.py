"""What programs do with the recorded graph itself: nodes, edges, and what becomes of the values that it keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..blocks import Exit, opened
from ..tensor import Tensor
from .engine import RUNNING, after_pass
from .mode import enable_grad
from .node import CHANGES_ALLOWED, Node, next_seq
from .saving import LOCAL, SAVING

__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge",
    "increment_version", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip


class saved_tensors_hooks:
    """A block in which the graph keeps ``pack_hook(tensor)`` instead of each tensor that a gradient reads.

    ``unpack_hook`` makes a tensor of the same shape and dtype of it, when the backward pass gets there, and each time.
    Of nested blocks the innermost counts. What pack_hook gets has no history and must not be changed; what is kept, and
    how often it is called, is livegrad's choice (`node.kept()` says it), not PyTorch's.
    The backward pass raises TypeError if unpack_hook gives no tensor, RuntimeError for one of another shape or dtype.

    >>> import livegrad
    >>> x = livegrad.tensor([1., 2.], requires_grad=True)
    >>> with livegrad.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), livegrad.tensor):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if LOCAL.refused is not None:
            raise RuntimeError(LOCAL.refused)
        block = opened(self)
        SAVING.blocks += 1
        LOCAL.open.append((block, (self.pack_hook, self.unpack_hook)))

    __exit__ = Exit()


class save_on_cpu(saved_tensors_hooks):
    """A block in which the graph keeps its tensors in the CPU's memory, and brings them back for the backward pass.

    pin_memory: in memory that a CUDA device reads directly, while there is one.

    >>> import livegrad
    >>> x = livegrad.tensor([1., 2.], requires_grad=True)
    >>> with livegrad.autograd.graph.save_on_cpu():
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(t: Tensor) -> tuple:
            kept: Any = t.cpu() if t.device.type != "cpu" else t.clone()  # type: ignore[attr-defined]
            return t.device, kept.pin_memory() if pin_memory and t.device.type == "cuda" else kept

        def unpack(packed: tuple) -> Tensor:
            device, kept = packed
            return kept.to(device, non_blocking=pin_memory)

        super().__init__(pack, unpack)


class _Several:
    """What hooks on several tensors have seen of the backward pass under way."""

    def __init__(self, edges: list, fn: Callable, mode: str) -> None:
        self.edges, self.fn, self.mode = edges, fn, mode
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """The pass is over."""
        self.grads: list = [None] * len(self.edges)
        self.seen = self.total = 0

    def hook(self, place: int) -> Callable:
        """The hook of one of them."""

        def arrived(g: Tensor) -> None:
            with self.lock:
                if self.seen == 0:
                    self.total = _reached(self.edges)
                    after_pass(self.forget)
                self.grads[place] = g
                self.seen += 1
                seen, grads = self.seen, list(self.grads)
            if self.mode == "any" and seen == 1:
                self.fn(g)
            elif self.mode == "all" and seen == self.total:
                self.fn(grads)

        return arrived


def _reached(edges: list) -> int:
    """How many of some nodes the backward pass under way can get to."""
    wanted, found = set(edges), set()
    stack = [node for node, _, _ in RUNNING.roots]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node in wanted:
            found.add(node)
        for edge in node.next:
            if edge is not None and edge not in seen:
                seen.add(edge)
                stack.append(edge)
    return sum(edge in found for edge in edges)


class _Handles:
    """Removes several hooks at once."""

    def __init__(self, handles: tuple) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Remove them."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all") -> _Handles:
    """Call a function when the gradients of several tensors are there; returns a handle that removes the hook.

    mode "all": ``fn(gradients)``, once in each backward pass, when all have come that this pass computes; None stands
    for the others. "any": ``fn(gradient)`` of the one that comes first. Raises ValueError for another mode.

    >>> import livegrad
    >>> a, b = livegrad.ones(1, requires_grad=True), livegrad.ones(1, requires_grad=True)
    >>> handle = register_multi_grad_hook((a, b), lambda grads: print([g.item() for g in grads]))
    >>> (a * 2 + b * 3).backward()
    [2.0, 3.0]
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    state = _Several([t._edge for t in tensors], fn, mode)
    return _Handles(tuple(t.register_hook(state.hook(i)) for i, t in enumerate(tensors)))


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """A block in which opening `saved_tensors_hooks` raises RuntimeError with this text; so does opening this in one.

    >>> import livegrad
    >>> with livegrad.autograd.graph.disable_saved_tensors_hooks("not here"):
    ...     with livegrad.autograd.graph.save_on_cpu():
    ...         pass
    Traceback (most recent call last):
    ...
    RuntimeError: not here
    """
    if LOCAL.pair is not None:
        raise RuntimeError(error_message)
    before, LOCAL.refused = LOCAL.refused, error_message
    try:
        yield
    finally:
        LOCAL.refused = before


class _Mutations:
    """What `allow_mutation_on_saved_tensors` gives to its block."""

    def clear(self) -> None:
        """Without effect: what was kept goes with the graph that keeps it."""


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_Mutations]:
    """A block in which tensors may be changed in place although a gradient still needs what they were.

    Changing one that is needed leaves the graph its old memory, in the block as everywhere; here that is no error when
    the backward pass gets there, in the block or after it. Raises RuntimeError for a block within such a block.

    >>> import livegrad
    >>> x = livegrad.tensor([1., 2.], requires_grad=True)
    >>> with livegrad.autograd.graph.allow_mutation_on_saved_tensors():
    ...     y = x.clone()
    ...     z = (y * y).sum()
    ...     _ = y.zero_()
    ...     z.backward()
    >>> x.grad
    tensor([2., 4.])
    """
    if CHANGES_ALLOWED and CHANGES_ALLOWED[-1][1] is None:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    block = [next_seq(), None]
    CHANGES_ALLOWED.append(block)
    try:
        yield _Mutations()
    finally:
        block[1] = next_seq()


class GradientEdge(NamedTuple):
    """Where a gradient arrives: a node, and which of its outputs."""

    node: Node
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where the gradient of a tensor arrives. Raises RuntimeError for one that requires no gradient.

    >>> import livegrad
    >>> x = livegrad.ones(2, requires_grad=True)
    >>> livegrad.autograd.graph.get_gradient_edge(x * 2).node.name()
    'MulBackward0'
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    if tensor.grad_fn is not None:
        return GradientEdge(tensor.grad_fn, tensor._nr)
    with enable_grad():
        leaf = tensor.view_as(tensor).grad_fn.next_functions[0][0]  # type: ignore[attr-defined]
    return GradientEdge(leaf, 0)


def increment_version(tensor: Any) -> None:
    """Count a change in place of a tensor, or of several, that autograd has not seen: what kept it cannot use it."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        t._touch()
