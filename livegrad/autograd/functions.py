"""`backward` and `grad`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ..lazy.value import Value, from_array
from ..native import hot
from ..observe import WATCH
from ..overriding import asks
from ..runtime import array as arrays
from ..tensor import Tensor, wrap
from . import engine
from .node import Node


@hot
def _seed(output: Tensor, gradient: Any, recording: bool) -> Any:
    """The gradient that an output starts with."""
    if gradient is None:
        if output.numel() != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs: this tensor has shape "
                f"{list(output._shape)}; pass gradient= of that shape, or reduce it with .sum() or .mean()"
            )
        if output.dtype.is_complex:
            raise RuntimeError(
                f"grad can be implicitly created only for real scalar outputs but got {output.dtype}; pass gradient=, "
                "or take a real number of it, such as .abs() or .real"
            )
        v = _one(output._shape, output.dtype, output.device)
        return wrap(v) if recording else v
    if not isinstance(gradient, Tensor):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
    if gradient._shape != output._shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[0] has a shape of {gradient.shape} and output[0] has a shape of "
            f"{output.shape}."
        )
    if gradient.dtype is not output.dtype:
        gradient = gradient.to(output.dtype)
    return gradient if recording else gradient._value()


@functools.lru_cache(256)
def _one(shape: tuple, dtype: Any, device: Any) -> Any:
    """A shared value of one element, 1."""
    v = from_array(arrays.full_on(device, shape, dtype, 1))
    v.uses = 1 << 40  # it has many readers, so nobody may ever write into its memory
    v.shared = True
    return v


@hot
def _roots(outputs: Sequence[Tensor], gradients: Sequence[Any], recording: bool) -> list:
    roots = []
    for output, gradient in zip(outputs, gradients):
        if output._edge is None:
            raise RuntimeError(
                "element 0 of tensors does not require grad and does not have a grad_fn. Make the inputs with "
                "requires_grad=True, and compute the result outside livegrad.no_grad()."
            )
        roots.append((output._edge, output._nr, _seed(output, gradient, recording)))
    return roots


@hot
def backward_from(output: Tensor, keep_graph: bool) -> None:
    """`output.backward()` of a tensor of one element, which is what nearly every program calls."""
    edge = output._edge
    if edge is None:
        _roots((output,), (None,), False)  # which says what is wrong
    engine.run([(edge, output._nr, _seed(output, None, False))], keep_graph, False)


@hot
def _as_tuple(x: Any) -> tuple:
    return (x,) if isinstance(x, Tensor) else tuple(x)


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add to `.grad` of the leaves the gradients of `tensors`, each weighed by its entry of `grad_tensors`.

    inputs: accumulate into these tensors only. retain_graph: keep what the graph holds (create_graph's default).
    """
    tensors = _as_tuple(tensors)
    given = (None,) * len(tensors) if grad_tensors is None else _as_tuple(grad_tensors)
    if len(given) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(given)} gradients")
    keep = create_graph if retain_graph is None else retain_graph
    roots = _roots(tensors, given, create_graph)
    if inputs is None:
        engine.run(roots, keep, create_graph)
        return
    wanted = _as_tuple(inputs)
    if not wanted:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    capture = {(t._edge, t._nr): None for t in wanted}
    for t in wanted:
        t.retain_grad()  # what is no leaf keeps its gradients from now on, as in PyTorch
    engine.run(roots, keep, create_graph, capture)
    for t in wanted:
        g = capture[t._edge, t._nr]
        if g is not None and t._edge.is_leaf:
            t._edge.accumulate(g, create_graph)


@asks
def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of `outputs` by `inputs`, as a tuple; nothing accumulates in `.grad`.

    create_graph=True records the computation, so that the gradients can be differentiated again.
    Raises RuntimeError for an input that was not used, unless allow_unused=True (then its gradient is None).

    >>> import livegrad
    >>> x = livegrad.tensor(3., requires_grad=True)
    >>> (g,) = livegrad.autograd.grad(x ** 3, x, create_graph=True)
    >>> livegrad.autograd.grad(g, x)
    (tensor(18.),)
    """
    outs, ins = _as_tuple(outputs), _as_tuple(inputs)
    given = (None,) * len(outs) if grad_outputs is None else _as_tuple(grad_outputs)
    if is_grads_batched:
        from . import batches

        options = {"allow_unused": allow_unused, "materialize_grads": materialize_grads}
        return batches.of_each(outs, ins, given, create_graph, options)
    keep = create_graph if retain_graph is None else retain_graph
    if WATCH.batcher is not None:
        from . import batches

        if batches.batched((*outs, *ins, *given)):
            options = {"allow_unused": allow_unused, "materialize_grads": materialize_grads}
            return batches.gradients(outs, ins, given, keep, create_graph, options)
    return run(outs, ins, given, keep, create_graph, False, allow_unused, materialize_grads)


def run(
    outs: tuple,
    ins: tuple,
    given: tuple,
    keep: bool,
    create_graph: bool,
    batched: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple:
    """`grad`, of tuples. batched: whether gradients that are given are batches, and so have to go on as tensors."""
    for t in ins:
        if t._edge is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    capture: dict[tuple[Node, int], Any] = {(t._edge, t._nr): None for t in ins}
    recording = create_graph or batched
    engine.run(_roots(outs, given, recording), keep, recording, capture, not create_graph)
    result: list = []
    for i, t in enumerate(ins):
        g = capture[t._edge, t._nr]
        if g is None:
            if materialize_grads:
                g = t.new_zeros(t._shape)
            elif not allow_unused:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set "
                    f"allow_unused=True if this is the desired behavior. (It has shape {list(t._shape)}.)"
                )
            result.append(g)
        else:
            result.append(wrap(g) if g.__class__ is Value else g)
    return tuple(result)
