"""Normalisation as one step of the graph: mean, variance, scale and shift in one kernel, and their gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..autograd.mode import MODE
from ..devices import cpu
from ..lazy.rows import adds_up
from ..lazy.value import Value
from ..native import hot
from ..observe import WATCH
from ..runtime.array import numel
from ..tensor import Tensor, wrap
from . import rows
from .batching import hide, level_of, show
from .dims import cast_like
from .dispatch import check_devices
from .operator import Operator
from .rowprogram import RowProgram, total
from .scalar import rsqrt, square


def _named(formula: Callable, names: str, optional: str, given: tuple) -> tuple[Callable, int]:
    """`formula` as a function of just the tensors that are given and two numbers, and how many tensors those are.

    The formula takes all tensors by position; those that are not given are None.
    """
    tensors = [n for n in names.split() if n not in optional.split() or n in given]
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in (*tensors, "n", "eps")]

    def function(*args: Any) -> Any:
        known = dict(zip((*tensors, "n", "eps"), args))
        return formula(*(known.get(n) for n in (*names.split(), "n", "eps")))

    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function, len(tensors)


def _forward(x: Any, mean_wanted: bool, w: Any, b: Any, n: Any, eps: Any) -> tuple:
    """The outcome, each row's mean square (from its mean), and its mean."""
    mean = total(x) / n
    centre = x - mean if mean_wanted else x
    spread = total(square(centre)) / n
    y = centre * rsqrt(spread + eps)
    y = y if w is None else y * w
    y = y if b is None else y + b
    return (y, spread, mean) if mean_wanted else (y, spread)


def _backward(g: Any, x: Any, spread: Any, mean: Any, w: Any, n: Any, eps: Any) -> tuple:
    """The gradient of x, and what has to be summed for the gradients of weight and bias."""
    scale = rsqrt(spread + eps)
    unit = (x if mean is None else x - mean) * scale
    h = g if w is None else g * w
    inner = h - unit * (total(h * unit) / n)
    if mean is not None:
        inner = inner - total(h) / n
    return inner * scale, g * unit, g


class Normaliser(Operator):
    """The operator for one combination of what there is: a mean to subtract, a weight, a bias."""

    __slots__ = ("centred", "program", "gradient", "gradient_only", "gradient_added")

    def __init__(self, centred: bool, weight: bool, bias: bool):
        given = (*(["weight"] if weight else []), *(["bias"] if bias else []))
        super().__init__("normalise", self._values, ("x", *given), {}, "NormaliseBackward", False)
        self.grads = dict.fromkeys(self.tensors)
        self.centred = centred
        optional = "weight bias mean"
        stored = ("mean", *given) if centred else given

        def forward(x: Any, w: Any, b: Any, n: Any, eps: Any) -> tuple:
            return _forward(x, centred, w, b, n, eps)

        def backward(*args: Any) -> Any:
            return _backward(*args)[0]

        def sums(*args: Any) -> tuple:
            inner, of_weight, of_bias = _backward(*args)
            return inner, total(of_weight), total(of_bias)

        def added(*args: Any) -> tuple:
            inner, of_weight, of_bias = _backward(*args)
            return (inner, *([of_weight] if weight else []), *([of_bias] if bias else []))

        name = "normalise" if centred else "rms"
        self.program = RowProgram(name, *_named(forward, "x weight bias", optional, stored))
        names = "g x spread mean weight"
        self.gradient = RowProgram(f"{name}_gradient", *_named(sums, names, optional, stored))
        self.gradient_only = RowProgram(f"{name}_gradient", *_named(backward, names, optional, stored))
        self.gradient_added = RowProgram(f"{name}_gradient", *_named(added, names, optional, stored), len(given))

    @hot
    def _values(self, *values: Value, shape: tuple, dims: tuple, affine: tuple, eps: float) -> tuple:
        x = values[0]
        viewed = (x.reshape(shape), *(v.reshape(affine) for v in values[1:]))  # type: ignore[attr-defined]
        kept = rows.computing(x.dtype)
        n = float(numel(tuple([shape[d] for d in dims])))
        results = (x.dtype, kept, kept)[: len(self.program.results)]
        made = rows.apply(self.program, viewed, dims, (n, eps), results)
        return (made[0].reshape(x.shape), *made[1:])

    @hot
    def recorded(self, tensors: tuple, label: str, args: dict) -> tuple:
        """Run on tensors and record: the result, and unrecorded the mean squares and, if centred, the means."""
        values = [t._read() if t._v is None else t._v for t in tensors]
        for v in values:
            if v.device is not values[0].device:
                check_devices(tensors)
        made = self._values(*values, **args)
        out = wrap(made[0])
        if MODE.grad and any(t._edge is not None for t in tensors):
            kept = dict(args)
            kept["spread"], kept["mean"] = made[1], made[2] if self.centred else None
            self.record((out,), values, tensors, label, kept)
        return (out, *[wrap(v) for v in made[1:]])

    @hot
    def _kept(self, edges: tuple) -> tuple:
        return tuple((n, i) for i, n in enumerate(self.tensors) if n != "bias"), (), True

    @hot
    def gradients(self, node: Any, g: Any, saved: dict, edges: tuple) -> tuple:
        args = node.args
        shape, dims, affine, eps = args["shape"], args["dims"], args["affine"], args["eps"]
        x, weight = saved["x"].reshape(shape), saved.get("weight")
        g = g.reshape(shape)
        bare = g.__class__ is Value
        mean, spread = args["mean"], args["spread"]
        if not bare:  # recorded: what was kept has to depend on x
            mean = x.mean(dims, keepdim=True) if self.centred else None
            spread = (x if mean is None else x - mean).square().mean(dims, keepdim=True)
        given = tuple([v for v in (g, x, spread, mean) if v is not None])
        if weight is not None:
            given = (*given, weight.reshape(affine))
        numbers = (float(numel(tuple([shape[d] for d in dims]))), eps)
        wanted = dict(zip(self.tensors, (e is not None for e in edges)))
        # Where weight and bias have one value a row, their gradients are sums that the gradient of x needs anyway.
        lead = len(shape) - len(affine)
        per_row = all(d < lead or affine[d - lead] == 1 for d in dims)
        found: dict[str, Any] = {}
        kept = rows.computing(x.dtype)
        affine_wanted = wanted.get("weight") or wanted.get("bias")
        if bare and wanted["x"] and affine_wanted and _by_place(shape, dims, affine, x):
            # Where they have one value a place of the row, they are sums over the rows that it meets anyway.
            made = rows.apply(self.gradient_added, given, dims, numbers, (x.dtype, kept, kept)[: len(self.tensors)])
            for name, v in zip(self.tensors, made):
                found[name] = v if name == "x" else v.reshape(affine)
        elif bare and per_row and len(self.tensors) > 1:
            made = rows.apply(self.gradient, given, dims, numbers, (x.dtype, kept, kept))
            found = dict(zip(("x", "weight", "bias"), made))
        else:
            if wanted["x"]:
                found["x"] = rows.apply(self.gradient_only, given, dims, numbers, (x.dtype,))
            if wanted.get("weight"):
                found["weight"] = g * ((x if mean is None else x - mean) * (spread + eps).rsqrt())
            if wanted.get("bias"):
                found["bias"] = g
        out: list = []
        for name, edge, (own, dtype) in zip(self.tensors, edges, node.metas):
            if edge is None:
                out.append(None)
            elif name == "x":
                out.append(found["x"].reshape(own))
            else:
                out.append(cast_like(found[name].sum_to_size(affine).reshape(own), dtype))
        return tuple(out)


@hot
def _by_place(shape: tuple, dims: tuple, affine: tuple, x: Value) -> bool:
    """Whether weight and bias have one value a place of a row, and their gradients can be added up row by row."""
    if x.device is not cpu or not adds_up(shape, dims, rows.computing(x.dtype).itemsize):
        return False
    lead = len(shape) - len(affine)
    return all(n == (shape[d + lead] if d + lead in dims else 1) for d, n in enumerate(affine))


_made: dict[tuple, Normaliser] = {}


def _of_batch(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: tuple, dims: tuple, affine: tuple, eps: float,
    label: str, centred: bool,
) -> tuple:  # fmt: skip
    """`normalise` where some tensors are batches."""
    level = max(level_of(t) for t in (x, weight, bias) if t is not None)
    whole = show(x, level)
    if whole is not None and all(t is None or level_of(t) < level for t in (weight, bias)):
        wide = {"shape": (whole._shape[0], *shape), "dims": tuple([d + 1 for d in dims]), "affine": affine}
        made = normalise(whole, weight, bias, **wide, eps=eps, label=label, centred=centred)
        return tuple([hide(t, level) for t in made])
    viewed: Any = x.reshape(shape)  # type: ignore[attr-defined]
    mean = viewed.mean(dims, keepdim=True) if centred else None
    centre = viewed if mean is None else viewed - mean
    spread = centre.square().mean(dims, keepdim=True)
    y = centre * (spread + eps).rsqrt()
    y = y if weight is None else y * weight.reshape(affine)  # type: ignore[attr-defined]
    y = y if bias is None else y + bias.reshape(affine)  # type: ignore[attr-defined]
    return (y.reshape(x._shape), *[t.detach() for t in (spread, mean) if t is not None])


@hot
def normalise(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    shape: tuple,
    dims: tuple,
    affine: tuple,
    eps: float,
    label: str,
    centred: bool = True,
) -> tuple:
    """x scaled to mean 0 and variance 1 over some dimensions, times weight, plus bias.

    shape: the shape in which x is looked at; dims: dimensions of that shape, counted from the front; affine: the shape
    in which weight and bias are looked at, which broadcasts to the first one. label: the node's name. Not centred, it
    is divided by the root of its mean square instead. Returns the result and, without a record, the mean squares (the
    biased variances) and if centred the means, which keep the dimensions.
    """
    if WATCH.batcher is not None and any(t is not None and level_of(t) for t in (x, weight, bias)):
        return _of_batch(x, weight, bias, shape, dims, affine, eps, label, centred)
    key = (centred, weight is not None, bias is not None)
    op = _made.get(key)
    if op is None:
        op = _made[key] = Normaliser(*key)
    tensors = tuple([t for t in (x, weight, bias) if t is not None])
    args: dict = {"shape": shape, "dims": dims, "affine": affine, "eps": float(eps)}
    return op.recorded(tensors, label, args)
