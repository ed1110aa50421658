"""Applying row programs to values, as kernels, and to tensors, as the library's operators, which are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..lazy import rows as runner
from ..lazy.reduce import reduce as run_reduction
from ..lazy.value import Value, common_device
from ..native import hot
from ..runtime.array import numel
from . import dispatch
from .batch_rules import along
from .instruction import SCALAR_TYPE_NAMES
from .operator import Operator
from .parameters import parameters
from .registry import operator
from .rowprogram import RowProgram
from .view import spread


@hot
def computing(d: dtypes.dtype, name: str = "rows") -> dtypes.dtype:
    """The dtype that a row of `d` is worked on in."""
    if d.category == dtypes.COMPLEX:
        raise NotImplementedError(f"\"{name}\" not implemented for '{SCALAR_TYPE_NAMES[d]}'")
    return dtypes.float32 if d.category == dtypes.FLOATING and d.itemsize < 4 else d


@hot
def apply(program: RowProgram, given: tuple, dims: tuple, numbers: tuple = (), results: tuple | None = None) -> Any:
    """The result of a row program, or the tuple of its results.

    given: values, or tensors, for the program's first parameters; they broadcast with each other. numbers: for the
    others. dims: the dimensions, counted from the front, that make up a row. results: the dtype of each result, that
    of the first operand if not given.

    On bare values it is one kernel. On tensors every step is recorded, so that the outcome can be differentiated; this
    is how gradients that are row programs have gradients themselves.
    """
    first = given[0]
    results = (first.dtype,) * len(program.results) if results is None else results
    if first.__class__ is Value:
        again = runner.again(program, given, numbers, dims, results)
        if again is not None:
            return again
    compute = computing(first.dtype, program.name)
    shape: tuple = ()
    for x in given:
        shape = dispatch.broadcast_shapes(shape, tuple(x.shape))
        if x.device is not first.device:
            common_device(given)
    if first.__class__ is not Value:
        made = _recorded(program, given, dims, numbers, shape, compute)
        made = [dispatch.cast(t, d) for t, d in zip(made, results)]
    elif program.steps and numel(shape) and runner.few_long_rows(shape, dims, compute.itemsize):
        made = _in_steps(program, given, dims, numbers, shape, compute)
        made = [cast_value(v, d) for v, d in zip(made, results)]
    else:
        made = list(runner.run(program, list(given), numbers, dims, shape, compute, results))
    return made[0] if len(made) == 1 else tuple(made)


def _names(program: RowProgram, given: list, numbers: tuple) -> dict[str, Any]:
    return dict(zip(program.parameters, (*given, *numbers)))


def _in_steps(
    program: RowProgram, given: tuple, dims: tuple, numbers: tuple, shape: tuple, compute: dtypes.dtype
) -> list:
    """On values, by elementwise kernels and reductions, which share a row among the threads."""

    def reduce(name: str, v: Value, dims: tuple) -> Value:
        made = run_reduction(spread(v, shape), name, dims, compute)
        return made.reshape(tuple([1 if d in dims else n for d, n in enumerate(shape)]))  # type: ignore[attr-defined]

    values = [cast_value(v, compute) for v in given]
    made = program.through_operators(_names(program, values, numbers), dims, dispatch.value_call, reduce)
    return [spread(v, shape) if full else v for v, full in zip(made, program.full)]


def _recorded(
    program: RowProgram, given: tuple, dims: tuple, numbers: tuple, shape: tuple, compute: dtypes.dtype
) -> list:
    def reduce(name: str, t: Any, dims: tuple) -> Any:
        return getattr(t.expand(shape), name)(dims, keepdim=True)

    tensors = [dispatch.cast(t, compute) for t in given]
    made = program.through_operators(_names(program, tensors, numbers), dims, dispatch.call, reduce)
    return [t.expand(shape) if full else t for t, full in zip(made, program.full)]


def row_operator(name: str, formula: Callable, gradient: Callable, node: str | None = None) -> Operator:
    """Declare an operator of one tensor by what it makes of a row; it is applied with the argument `dim`.

    formula: a function of the element x (see `ops.rowprogram`). gradient: the gradient of x as such a formula too; its
    parameters are `g` and those of `x` and `result` that it reads. dim: one dimension or several, counted from the
    front. node: the graph node's name without "Backward0".

    >>> import livegrad
    >>> from livegrad.ops.rowprogram import total
    >>> from livegrad.ops.rows import row_operator
    >>> shares = row_operator(
    ...     "shares", lambda x: x / total(x), lambda g, x, result: (g - total(g * result)) / total(x)
    ... )
    >>> shares.apply((livegrad.tensor([[1.0, 3.0], [2.0, 2.0]]),), dim=1)
    tensor([[0.2500, 0.7500],
            [0.5000, 0.5000]])
    """
    program = RowProgram(name, formula)
    names = parameters(gradient)
    backward = RowProgram(f"{name}_gradient", gradient, len(names))

    @hot
    def forward(x: Value, dim: Any) -> Value:
        return apply(program, (x,), dim if isinstance(dim, tuple) else (dim,))

    @hot
    def flow(*args: Any) -> Any:
        dim = args[-1]
        return apply(backward, args[:-1], dim if isinstance(dim, tuple) else (dim,))

    made = operator(name, forward, tensors=("x",), grads={"x": flow}, node=node, anywhere=True, batch=along("dim"))
    made.grads["x"].names = (*names, "dim")
    return made
