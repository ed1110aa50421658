"""Row programs on CUDA devices: which launch one takes, and what it is given."""

from __future__ import annotations

from typing import Any

from ..codegen.gpu import rows
from ..codegen.gpu.kernels import Launch
from ..codegen.rowshape import Input
from ..ops.rowprogram import RowProgram
from ..runtime.array import contiguous_strides, numel
from ..runtime.cuda import driver, memory
from . import cuda, log
from .cuda_reduce import alignment, arrange, layouts
from .plans import MAX_PLANS
from .value import Value

_plans: dict[tuple, Launch] = {}


def run(
    program: RowProgram, compute: Any, results: tuple, shape: tuple, dims: tuple, inputs: list[Value], pieces: list,
    leaves: list[Value], made: list, numbers: tuple, params: tuple,
) -> str | None:  # fmt: skip
    """Fill `made`, the arrays of the results; returns how, for the log, or None where tier 0 has to.

    pieces: the pending work that makes each input, or None. leaves: of all of them. params: their Python numbers.
    """
    if not numel(shape):
        return None
    codes = tuple(
        (() if p is None else p.code, v.dtype, 1 if p is None else len(p.leaves)) for v, p in zip(inputs, pieces)
    )
    aligned = min([alignment(leaves), *(low & -low for low in [16 | memory.address(a) for a in made])])
    key = (program, compute, results, shape, dims, codes, layouts(leaves), aligned)
    launch = _plans.get(key)
    if launch is None:
        own = contiguous_strides(shape)
        layout, columns = arrange(leaves, shape, dims, tuple(own for full in program.full if full))
        form = rows.Form(program, compute, tuple(Input(*code) for code in codes), results)
        launch = rows.plan(form, layout, columns, aligned)
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[key] = launch
    kernel = launch.kernel
    index = inputs[0].device.index
    if not driver.loadable(kernel, index):
        return None
    places = [memory.address(a) for a in made] + [cuda.word(v) for v in leaves]
    driver.launch(launch, index, kernel.pack(*places, *numbers, *params) + launch.tail)
    return log.origin(kernel)
