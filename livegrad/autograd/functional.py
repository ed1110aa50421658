"""Jacobians, Hessians and products with them, of a function at a point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .functions import grad
from .mode import enable_grad


def _tuple(x: Any) -> tuple:
    return (x,) if isinstance(x, Tensor) else tuple(x)


def _prepared(inputs: tuple, create_graph: bool) -> tuple:
    """Inputs to differentiate by: connected to where they came from, or leaves of their own."""
    if create_graph:
        return tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def _like(made: tuple, given: Any) -> Any:
    return made[0] if isinstance(given, Tensor) else made


def _gradients(outputs: Any, inputs: tuple, seeds: Any, create_graph: bool) -> tuple:
    """Gradients, zeros where an output does not depend on an input."""
    pairs = [(o, s) for o, s in zip(outputs, seeds) if o.requires_grad]
    if not pairs:
        return tuple(x.new_zeros(x.shape) for x in inputs)
    outs, given = zip(*pairs)
    return grad(outs, inputs, given, retain_graph=True, create_graph=create_graph, materialize_grads=True)


def jacobian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, **ignored: Any) -> Any:
    """The Jacobian of ``func`` at ``inputs``: of shape (output's..., input's...), nested as outputs and inputs are.

    >>> import livegrad
    >>> livegrad.autograd.functional.jacobian(lambda x: x ** 2, livegrad.tensor([1., 2.]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    with enable_grad():
        xs = _prepared(_tuple(inputs), create_graph)
        made = func(*xs)
        table = []
        for output in _tuple(made):
            rows = _rows(output, xs, create_graph)
            parts = [r.reshape(*output.shape, *x.shape) for r, x in zip(rows, xs)]
            table.append(_like(tuple(parts), inputs))
    return _like(tuple(table), made)


def _rows(output: Tensor, xs: tuple, create_graph: bool) -> tuple:
    """The gradients of each element of an output, by all inputs: all at once."""
    from ..creation import eye

    n = output.numel()
    if not n or not output.requires_grad:
        return tuple(x.new_zeros((n, *x.shape)) for x in xs)
    seeds = eye(n, dtype=output.dtype, device=output.device).reshape(n, *output.shape)
    return grad(output, xs, seeds, True, create_graph, is_grads_batched=True, materialize_grads=True)


def hessian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, **ignored: Any) -> Any:
    """The matrix of second derivatives of a function of one element: of shape (input's..., input's...)."""

    def slope(*xs: Any) -> Any:
        output = func(*xs)
        if output.numel() != 1:
            raise RuntimeError("The output of the function given to hessian should contain a single element")
        return _like(_gradients([output], xs, [output.new_ones(output.shape)], True), inputs)

    return jacobian(slope, inputs, create_graph)


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func(inputs), the product of `v` and the Jacobian)."""
    with enable_grad():
        xs = _prepared(_tuple(inputs), create_graph)
        made = func(*xs)
        outputs = _tuple(made)
        seeds = tuple(o.new_ones(o.shape) for o in outputs) if v is None else _tuple(v)
        grads = _gradients(outputs, xs, seeds, create_graph)
    kept = tuple(o if create_graph else o.detach() for o in outputs)
    return _like(kept, made), _like(grads, inputs)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func(inputs), the product of the Jacobian and `v`), by differentiating a vector-Jacobian product."""
    with enable_grad():
        xs = _prepared(_tuple(inputs), create_graph)
        made = func(*xs)
        outputs = _tuple(made)
        seeds = tuple(o.new_zeros(o.shape).requires_grad_() for o in outputs)
        grads = _gradients(outputs, xs, seeds, True)
        directions = tuple(x.new_ones(x.shape) for x in xs) if v is None else _tuple(v)
        products = _gradients(grads, seeds, directions, create_graph)
    kept = tuple(o if create_graph else o.detach() for o in outputs)
    return _like(kept, made), _like(products, made)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """(func(inputs), the product of `v` and the Hessian)."""
    with enable_grad():
        xs = _prepared(_tuple(inputs), create_graph)
        output = func(*xs)
        grads = _gradients([output], xs, [output.new_ones(output.shape)], True)
        directions = tuple(x.new_ones(x.shape) for x in xs) if v is None else _tuple(v)
        products = _gradients(grads, xs, directions, create_graph)
    return output if create_graph else output.detach(), _like(products, inputs)


hvp = vhp  # the Hessian is symmetric

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
