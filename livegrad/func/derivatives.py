"""Derivatives of functions of tensors, or of nested tuples, lists and dictionaries of them.

A derivative is taken of leaves of its own, so nothing accumulates in anybody's `.grad`. Its result is recorded exactly
where somebody outside may still differentiate it: where the function's graph leads to other leaves than its own. That
makes derivatives nest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import autograd
from ..autograd.mode import MODE, enable_grad
from ..creation import arange, zeros
from ..ops.batching import RUNNING, hide_all, lift, show_all
from ..ops.joining import cat
from ..tensor import Tensor
from ..utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten
from .batch import vmap


class _Variables:
    """Inputs to differentiate by: connected to where they came from, or leaves of their own."""

    def __init__(self, name: str, trees: Any):
        given, self.spec = tree_flatten(trees)
        for x in given:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"{name}: Expected all inputs to be Tensors, got {type(x).__name__}")
        self.recording = MODE.grad
        self.tensors = [_variable(x) for x in given]
        self.own = {x._edge for x in self.tensors if x._edge.is_leaf}

    def trees(self) -> Any:
        return tree_unflatten(self.tensors, self.spec)

    def outside(self, outputs: Iterable[Tensor]) -> bool:
        """Whether the graph of some output leads to leaves other than these."""
        if not self.recording:
            return False
        waiting: list[Any] = [t._edge for t in outputs if t._edge is not None]
        seen = set(waiting)
        while waiting:
            node = waiting.pop()
            if node.is_leaf:
                if node not in self.own:
                    return True
                continue
            for edge in node.next:
                if edge is not None and edge not in seen:
                    seen.add(edge)
                    waiting.append(edge)
        return False

    def gradients(self, outputs: list, seeds: list, record: bool, keep: bool = True) -> list:
        """The gradients by the variables; zeros where an output does not depend on one."""
        return _gradients(outputs, self.tensors, seeds, record, keep)


def _variable(x: Tensor) -> Tensor:
    """A tensor to differentiate by: one for each example, within `vmap`."""
    levels = RUNNING.levels
    if not levels:
        return x.view_as(x) if x.requires_grad and MODE.grad else x.detach().requires_grad_()  # type: ignore[attr-defined]
    batch = lift(x, levels)
    if batch.requires_grad and MODE.grad:
        return batch.view_as(batch)  # type: ignore[attr-defined]
    numbers = [level.number for level in levels]
    return hide_all(show_all(batch, numbers).detach().requires_grad_(), numbers)


def _gradients(outputs: list, inputs: list, seeds: list, record: bool, keep: bool = True) -> list:
    pairs = [(o, s) for o, s in zip(outputs, seeds) if o.requires_grad]
    if not pairs:
        return [x.new_zeros(x.shape) for x in inputs]
    outs, given = zip(*pairs)
    return list(autograd.grad(outs, inputs, given, keep or record, record, materialize_grads=True))


def _released(tree: Any, record: bool) -> Any:
    """What leaves the transformation: without the graph of its variables, unless somebody outside needs it."""
    return tree if record else tree_map_only(Tensor, lambda t: t.detach(), tree)


def _split(name: str, made: Any, has_aux: bool) -> tuple:
    if not has_aux:
        return made, None
    if not (isinstance(made, tuple) and len(made) == 2):
        raise RuntimeError(
            f"{name}(f)(*args): output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return made


def _chosen(name: str, args: tuple, argnums: int | tuple) -> Any:
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    for k in numbers:
        if not -len(args) <= k < len(args):
            raise RuntimeError(f"Got argnum={k}, but only {len(args)} positional inputs")
    picked = tuple(args[k] for k in numbers)
    return picked[0] if isinstance(argnums, int) else picked


def _replaced(args: tuple, argnums: int | tuple, trees: Any) -> list:
    """The arguments with the chosen ones replaced."""
    full = list(args)
    if isinstance(argnums, int):
        full[argnums] = trees
    else:
        for k, tree in zip(argnums, trees):
            full[k] = tree
    return full


def grad_and_value(func: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """The function that gives (gradient, value); (gradient, (value, aux)) where `func` returns (value, aux).

    func must return a tensor without dimensions. argnums: by which arguments; a tuple gives a tuple of gradients. An
    argument may be a nested structure of tensors: the gradient has its structure.

    >>> import livegrad
    >>> livegrad.func.grad_and_value(lambda x: (x * x).sum())(livegrad.tensor([1.0, 3.0]))
    (tensor([2., 6.]), tensor(10.))
    """

    def transformed(*args: Any, **kwargs: Any) -> tuple:
        chosen = _chosen("grad_and_value", args, argnums)
        variables = _Variables("grad_and_value", chosen)
        with enable_grad():
            made = func(*_replaced(args, argnums, variables.trees()), **kwargs)
            value, aux = _split("grad_and_value", made, has_aux)
            if not isinstance(value, Tensor):
                raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a tensor, got {type(value)}")
            if value.dim():
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                    f"{value.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            record = variables.outside([value])
            gradients = variables.gradients([value], [value.new_ones(())], record, keep=False)
        made = tree_unflatten(gradients, variables.spec)
        value = _released(value, record)
        return (made, (value, _released(aux, record))) if has_aux else (made, value)

    return transformed


def grad(func: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """The function that gives the gradient of `func`, which returns a tensor without dimensions.

    See `grad_and_value`. With has_aux=True `func` returns (value, aux), and the result is (gradient, aux).

    >>> import livegrad
    >>> slope = livegrad.func.grad(lambda x: x.sin())
    >>> livegrad.func.grad(slope)(livegrad.tensor(0.5))
    tensor(-0.4794)
    """
    both = grad_and_value(func, argnums, has_aux)

    def transformed(*args: Any, **kwargs: Any) -> Any:
        made, value = both(*args, **kwargs)
        return (made, value[1]) if has_aux else made

    return transformed


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """(func(*primals), the function from a cotangent to its product with the Jacobian, a tuple by primal).

    The cotangent has the structure of the output. With has_aux=True `func` returns (output, aux), and aux is
    returned as the third.

    >>> import livegrad
    >>> value, pull = livegrad.func.vjp(lambda x: x ** 2, livegrad.tensor([1.0, 3.0]))
    >>> pull(livegrad.tensor([1.0, 10.0]))
    (tensor([ 2., 60.]),)
    """
    variables = _Variables("vjp(f, *primals)", primals)
    with enable_grad():
        made, aux = _split("vjp", func(*variables.trees()), has_aux)
    outputs, spec = tree_flatten(made)
    _check_tensors("vjp(f, *primals)", outputs)
    record = variables.outside(outputs)

    def pull(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> tuple:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        seeds, given_spec = tree_flatten(given)
        if given_spec != spec:
            raise RuntimeError(
                f"Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {given_spec}, primal output: {spec}"
            )
        wanted = (record or any(s.requires_grad for s in seeds)) and MODE.grad if create_graph is None else create_graph
        with enable_grad():
            found = variables.gradients(outputs, seeds, wanted, retain_graph)
        return tree_unflatten(found, variables.spec)

    value = _released(made, record)
    return (value, pull, _released(aux, record)) if has_aux else (value, pull)


def _check_tensors(name: str, outputs: list) -> None:
    for o in outputs:
        if not isinstance(o, Tensor):
            raise RuntimeError(f"{name}: Expected f to return only tensors, got {type(o).__name__}")
    if not outputs:
        raise RuntimeError(f"{name}: Expected f to be a function that has non-empty output")


class _Push:
    """Jacobian-vector products at a point: the derivative of a vector-Jacobian product by its cotangent."""

    def __init__(self, name: str, func: Callable, primals: tuple, has_aux: bool = False):
        self.variables = variables = _Variables(name, primals)
        with enable_grad():
            self.made, self.aux = _split(name, func(*variables.trees()), has_aux)
            self.outputs, self.spec = tree_flatten(self.made)
            _check_tensors(name, self.outputs)
            self.record = variables.outside(self.outputs)
            self.seeds = [_variable(zeros(o.shape, dtype=o.dtype, device=o.device)) for o in self.outputs]
            self.slopes = variables.gradients(self.outputs, self.seeds, True)

    def __call__(self, tangents: list) -> Any:
        record = self.variables.recording and (self.record or any(t.requires_grad for t in tangents))
        with enable_grad():
            found = _gradients(self.slopes, self.seeds, tangents, record)
        return tree_unflatten(found, self.spec)

    def value(self) -> Any:
        return _released(self.made, self.record)


def _tangents(name: str, spec: TreeSpec, given: Any) -> list:
    tangents, found = tree_flatten(given)
    if found != spec:
        raise RuntimeError(
            f"{name}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {spec} and tangents with structure "
            f"{found}"
        )
    return tangents


def jvp(func: Callable, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """(func(*primals), the product of the Jacobian and the tangents), by differentiating a vector-Jacobian product.

    With has_aux=True `func` returns (output, aux), and aux is returned as the third.

    >>> import livegrad
    >>> livegrad.func.jvp(lambda x: x ** 2, (livegrad.tensor(3.0),), (livegrad.tensor(1.0),))
    (tensor(9.), tensor(6.))
    """
    name = "jvp(f, primals, tangents)"
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{name}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    push = _Push(name, func, primals, has_aux)
    product = push(_tangents(name, push.variables.spec, tangents))
    return (push.value(), product, _released(push.aux, push.record)) if has_aux else (push.value(), product)


def linearize(func: Callable, *primals: Any) -> tuple:
    """(func(*primals), the function from tangents to their product with the Jacobian at that point).

    >>> import livegrad
    >>> value, push = livegrad.func.linearize(lambda x: x.sin(), livegrad.tensor(0.0))
    >>> push(livegrad.tensor(2.0))
    tensor(2.)
    """
    push = _Push("linearize(f, *primals)", func, primals)
    return push.value(), lambda *tangents: push(_tangents("linearize", push.variables.spec, tangents))


def _basis(tensors: list, start: int, stop: int) -> list:
    """Unit vectors of the space of several tensors together, one after the other: parts for each, in rows."""
    made = []
    before = 0
    for t in tensors:
        n = t.numel()
        rows = zeros((stop - start, n), dtype=t.dtype, device=t.device)
        low, high = max(start - before, 0), min(stop - before, n)
        if low < high:
            places = arange(low, high, device=t.device)
            rows[places + (before - start), places] = 1
        made.append(rows.reshape((stop - start, *t.shape)))
        before += n
    return made


def _images(push: Callable, tensors: list, chunk_size: int | None, randomness: str = "error") -> list:
    """What a linear function of tensors makes of all unit vectors of their space: lists of rows, one list a result."""
    total = sum(t.numel() for t in tensors)
    step = min(chunk_size or total, total)
    parts = []
    for start in range(0, total, max(step, 1)):
        units = _basis(tensors, start, min(start + step, total))
        if step == 1:
            parts.append([t.unsqueeze(0) for t in push(*[u.squeeze(0) for u in units])])
        else:
            parts.append(vmap(push, randomness=randomness)(*units))
    return [cat(found) if len(found) > 1 else found[0] for found in zip(*parts)]


def jacrev(
    func: Callable, argnums: int | tuple = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:  # fmt: skip
    """The function that gives the Jacobian of `func`, of shape (output's..., input's...).

    Nested as the output is, and inside that as the input is. All rows are computed together, by `vmap`; chunk_size: so
    many at a time, to save memory.

    >>> import livegrad
    >>> livegrad.func.jacrev(lambda x: x ** 2)(livegrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_chunk("jacrev", chunk_size)

    def transformed(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("jacrev", args, argnums)

        def inner(tree: Any) -> Any:
            return func(*_replaced(args, argnums, tree), **kwargs)

        out = vjp(inner, chosen, has_aux=has_aux)
        outputs, spec = tree_flatten(out[0])
        inputs, input_spec = tree_flatten(chosen)
        sizes = [o.numel() for o in outputs]
        if sum(sizes):
            found = _images(
                lambda *seeds: tree_flatten(out[1](tree_unflatten(list(seeds), spec)))[0], outputs, chunk_size
            )
        else:
            found = [x.new_zeros((0, *x.shape)) for x in inputs]
        by_output = zip(*[rows.split(sizes) for rows in found])
        table = [
            tree_unflatten([rows.reshape(*o.shape, *x.shape) for rows, x in zip(parts, inputs)], input_spec)
            for o, parts in zip(outputs, by_output)
        ]
        made = tree_unflatten(table, spec)
        return (made, out[2]) if has_aux else made

    return transformed


def _check_chunk(name: str, chunk_size: int | None) -> None:
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"{name}: `chunk_size` should be greater than 0.")


def jacfwd(func: Callable, argnums: int | tuple = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """The function that gives the Jacobian of `func`, all columns together: less work than `jacrev` for few inputs.

    >>> import livegrad
    >>> livegrad.func.jacfwd(lambda x: x.sin())(livegrad.tensor([0.0]))
    tensor([[1.]])
    """

    def transformed(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("jacfwd", args, argnums)
        push = _Push("jacfwd", lambda tree: func(*_replaced(args, argnums, tree), **kwargs), (chosen,), has_aux)
        inputs, spec = tree_flatten(chosen)
        sizes = [x.numel() for x in inputs]
        if sum(sizes):
            found = _images(lambda *tangents: tree_flatten(push(list(tangents)))[0], inputs, None, randomness)
        else:
            found = [o.new_zeros((0, *o.shape)) for o in push.outputs]
        table = [
            tree_unflatten(
                [columns.movedim(0, -1).reshape(*o.shape, *x.shape) for columns, x in zip(rows.split(sizes), inputs)],
                spec,
            )
            for o, rows in zip(push.outputs, found)
        ]
        made = tree_unflatten(table, push.spec)
        return (made, _released(push.aux, push.record)) if has_aux else made

    return transformed


def hessian(func: Callable, argnums: int | tuple = 0) -> Callable:
    """The function that gives the second derivatives of `func`: the Jacobian of its Jacobian.

    >>> import livegrad
    >>> livegrad.func.hessian(lambda x: (x ** 3).sum())(livegrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacrev(jacrev(func, argnums), argnums)


__all__ = ["grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]
