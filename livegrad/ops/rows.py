"""Applying row programs to values, as kernels, and to tensors, as the library's operators, which are recorded."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..autograd.node import cast_value
from ..lazy import rows as runner
from ..lazy.evaluate import reduce as run_reduction
from ..lazy.value import Value
from ..runtime.array import numel
from . import dispatch
from .rowprogram import RowProgram
from .view import spread


def computing(d: dtypes.dtype) -> dtypes.dtype:
    """The dtype that a row of `d` is worked on in."""
    return dtypes.float32 if d.category == dtypes.FLOATING and d.itemsize < 4 else d


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
    compute = computing(first.dtype)
    shape: tuple = ()
    for x in given:
        shape = dispatch.broadcast_shapes(shape, tuple(x.shape))
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
