"""Functions of functions: derivatives, batches, and modules as functions of their parameters.

>>> import livegrad
>>> from livegrad.func import grad, vmap
>>> grad(lambda x: x ** 3)(livegrad.tensor(2.0))
tensor(12.)
>>> vmap(grad(lambda x: x ** 3))(livegrad.tensor([1.0, 2.0]))
tensor([ 3., 12.])
"""

from .batch import vmap
from .derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp
from .modules import functional_call, stack_module_state

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "stack_module_state", "vjp", "vmap",
]  # fmt: skip
