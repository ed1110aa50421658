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
from .modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from .mutations import functionalize

__all__ = [
    "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
    "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap",
]  # fmt: skip
