"""Running totals on CUDA devices: which launch they take, and what it is given."""

from __future__ import annotations

from ..codegen.gpu import scans
from ..codegen.gpu.kernels import Launch
from ..runtime.array import Array, contiguous_strides
from ..runtime.cuda import driver, memory
from . import cuda, log
from .cuda_reduce import arrange, layouts
from .plans import MAX_PLANS
from .value import Value

_plans: dict[tuple, Launch] = {}


def run(
    made: Array, x: Value, leaves: list[Value], code: tuple, params: tuple, name: str, dim: int, backwards: bool
) -> str | None:
    """Fill `made`; returns how, for the log, or None where tier 0 has to. leaves: of the program that makes `x`."""
    shape = x.shape
    key = (name, code, x.dtype, made.dtype, shape, dim, backwards, layouts(leaves))
    launch = _plans.get(key)
    if launch is None:
        layout, columns = arrange(leaves, shape, (dim,), (contiguous_strides(shape),))
        launch = scans.plan(name, code, x.dtype, made.dtype, layout, columns, backwards)
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[key] = launch
    kernel = launch.kernel
    index = x.device.index
    if not driver.loadable(kernel, index):
        return None
    places = [memory.address(made), *map(cuda.word, leaves)]
    driver.launch(launch, index, kernel.pack(*places, *params) + launch.tail)
    return log.origin(kernel)
