"""How each operator is written in ONNX: the table, from names of public functions and methods to translations.

A translation is a function of the writer and of the operator's own arguments, by their names in PyTorch. Tensors come
as `Value`, sizes that may change as Values with `size`, the rest as Python's numbers. It gives a Value, or a tuple of
them; `w.out` says the dtype and shape of what has to come out.

>>> import livegrad
>>> "relu" in livegrad.onnx.operators.TABLE
True
"""

from . import (  # noqa: F401  (each enters its translations)
    activations,
    attention,
    convolution,
    creation,
    elementwise,
    indexing,
    losses,
    normalization,
    pooling,
    products,
    recurrent,
    reductions,
    shapes,
)
from .table import TABLE, translates

__all__ = ["TABLE", "translates"]
