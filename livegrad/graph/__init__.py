"""The recorded graph as an object: print it, query it, draw it.

    >>> import livegrad
    >>> x = livegrad.arange(3.0, requires_grad=True)
    >>> a = x + 2
    >>> y = (a * a).mean()
    >>> g = livegrad.graph(y)
    >>> [node.op for node in g]
    ['leaf', 'add', 'mul', 'mean']
    >>> g.find(op="mul")[0].name
    'MulBackward0'

``print(g.draw())`` draws it, the result on top and arrows from result to input; ``g.save("graph.dot")`` writes it.
It reads the run that happened. Nothing is traced a second time, and nothing is evaluated.
"""

import sys
import types

from .names import caller_names, given_names
from .structure import Edge, Graph, Node
from .view import read

__all__ = ["Edge", "Graph", "Node", "graph"]


def graph(y, *more, params=None, inputs=None):
    """The graph that recorded ``y`` (and ``more`` results), as a :class:`Graph`.

    ``params`` names the leaves: a module (its ``named_parameters``), a dict, or pairs of name and tensor. ``inputs``,
    of the same form, are tensors at which reading stops: they are shown as inputs, however they were made. Whatever is
    not named this way takes the name of the variable that holds it in the calling function.

        >>> import livegrad
        >>> model = livegrad.nn.Sequential(livegrad.nn.Linear(2, 4), livegrad.nn.Tanh())
        >>> [node.label for node in livegrad.graph(model(livegrad.ones(3, 2)), params=model).leaves]
        ['0.weight', '0.bias']
    """
    results = _flatten((y, *more))
    names = given_names(inputs) + given_names(params) + caller_names()
    return read(results, names, stop=[tensor for _, tensor in given_names(inputs)])


def _flatten(values):
    """The tensors in nested tuples, lists and dicts, in order; anything else is refused."""
    found, todo = [], list(reversed(values))
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo.extend(reversed(list(value.values())))
        elif isinstance(value, (tuple, list)):
            todo.extend(reversed(value))
        elif hasattr(value, "grad_fn"):
            found.append(value)
        else:
            kind = type(value).__name__
            raise TypeError(f"graph() expects tensors, or tuples, lists and dicts of them, but got {kind}")
    if not found:
        raise ValueError("graph() needs at least one tensor")
    return found


class _CallableModule(types.ModuleType):
    """Lets ``livegrad.graph(y)`` work where the name means this module (after ``import livegrad.graph``)."""

    def __call__(self, y, *more, params=None, inputs=None):
        return graph(y, *more, params=params, inputs=inputs)


sys.modules[__name__].__class__ = _CallableModule
