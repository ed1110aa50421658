"""What programs do with the recorded graph itself: nodes, edges, and what becomes of the values that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..tensor import Tensor
from .mode import enable_grad
from .node import Node
from .saving import LOCAL, SAVING

__all__ = [
    "GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version", "save_on_cpu",
    "saved_tensors_hooks",
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
        LOCAL.pairs.append((self.pack_hook, self.unpack_hook))
        SAVING.blocks += 1

    def __exit__(self, *error: Any) -> None:
        SAVING.blocks -= 1
        LOCAL.pairs.pop()


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
    if LOCAL.pairs:
        raise RuntimeError(error_message)
    before, LOCAL.refused = LOCAL.refused, error_message
    try:
        yield
    finally:
        LOCAL.refused = before


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
