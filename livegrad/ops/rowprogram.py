"""Row programs: formulas over the elements of a row and over what the whole row reduces to.

A row is what an operator such as softmax works on by itself: the elements along the dimensions that it reduces. The
formula is a Python function of scalars, as for an elementwise operator, that may also use `total`, `largest` and
`smallest`, whose results belong to the row, and `position`, the element's place in it:

    softmax = RowProgram("softmax", lambda x: normalised(exp(x - largest_number(x))))   # e / total(e)

One formula has three readings: a kernel in which a row comes from memory once (`codegen.rows`), NumPy (tier 0), and
the library's own operators, which are recorded, so that what is written this way can be differentiated again.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from . import scalar
from .instruction import ElementwiseOp, _substitute
from .scalar import Expr, Primitive, postorder


class RowReduction(Primitive):
    """A primitive that combines the elements of a row. reduction: its name in `codegen.layout.REDUCTIONS`.

    operator: the name of the library's operator, and of NumPy's function, that does the same.
    """

    __slots__ = ("reduction", "operator")

    def __init__(self, name: str, reduction: str, operator: str = ""):
        super().__init__(name)
        self.reduction = reduction
        self.operator = operator or reduction

    def __call__(self, x: Any) -> Any:
        return Expr(self, (x,))


total = RowReduction("total", "sum")
largest = RowReduction("largest", "amax")
smallest = RowReduction("smallest", "amin")
# The same for formulas in which a NaN makes the outcome NaN whatever these are: what they are then is left open, and
# takes a third of the instructions.
largest_number = RowReduction("largest_number", "top", "amax")
smallest_number = RowReduction("smallest_number", "bottom", "amin")
# The element's place in its row, counted from 0 over the reduced dimensions in order.
position = Expr(None, (), "#")

# What one evaluation costs, in operations as fast as an addition; anything else costs one.
COSTS = {
    "div": 6, "reciprocal": 6, "sqrt": 8, "rsqrt": 12, "exp": 16, "exp2": 16, "expm1": 20, "log": 20, "log2": 20,
    "log10": 20, "log1p": 24, "sigmoid": 30, "tanh": 30, "logaddexp": 40, "log1pexp": 40, "hypot": 20, "sin": 30,
    "cos": 30, "tan": 50, "asin": 40, "acos": 40, "atan": 30, "atan2": 40, "sinh": 40, "cosh": 40, "asinh": 60,
    "acosh": 60, "atanh": 60, "erf": 40, "erfc": 80, "erfinv": 80, "lgamma": 200, "digamma": 200, "pow": 100,
    "fmod": 30, "remainder": 30, "floor_divide": 30,
}  # fmt: skip


class Step:
    """A reduction, or a result, as an elementwise operator of what came before it."""

    __slots__ = ("op", "names", "reduction", "key")

    def __init__(self, op: ElementwiseOp | None, names: tuple, reduction: str, key: str):
        self.op = op  # None: it is the value of that name itself
        self.names = names
        self.reduction = reduction  # "" for a result
        self.key = key


class RowProgram:
    """A formula over rows; see the module's description.

    formula: a function of scalars that returns one expression or several. tensors: how many of its parameters, the
    first ones, are tensors; the others are Python numbers. added: how many of the results, the last ones, are not
    written but added up over all rows, place by place; only `lazy.rows` and tier 0 know such programs.
    levels: for each node (by id) how many reductions have to be finished before it can be computed.
    per_row: ids of the nodes that have one value a row. full: for each result whether it has a value an element.
    """

    __slots__ = ("name", "formula", "parameters", "tensors", "added", "results", "order", "levels", "per_row", "full",
                 "stages", "steps", "positional", "_canonical", "_traced")  # fmt: skip

    def __init__(self, name: str, formula: Callable, tensors: int = 1, added: int = 0):
        self.name = name
        self.formula = formula
        self.tensors = tensors
        self.added = added
        self._traced: dict[str, RowProgram] = {}

    def __getattr__(self, name: str) -> Any:
        """Everything that follows from the formula is found out when the first of it is asked for."""
        if name not in RowProgram.__slots__:
            raise AttributeError(name)
        # Nodes are known by their ids, so all must come from one trace: the first that was complete, should several
        # threads make one, or Ctrl-C end one.
        made = self._traced.get("first")
        if made is None:
            made = RowProgram(self.name, self.formula, self.tensors, self.added)
            made._trace()
            made = self._traced.setdefault("first", made)
        for each in RowProgram.__slots__:
            if each != "_traced":
                setattr(self, each, getattr(made, each))
        return getattr(self, name)

    def _trace(self) -> None:
        formula = self.formula
        self.parameters = tuple(inspect.signature(formula).parameters)
        made = formula(*(Expr(None, (), p) for p in self.parameters))
        self.results = _shared(made if isinstance(made, tuple) else (made,))
        self.order = _order(self.results)
        self._analyse()
        self.full = tuple(id(r) not in self.per_row for r in self.results)
        self.stages = 1 + max(self.levels[id(r)] for r in self.results)
        self.steps = self._steps()
        self._canonical = ""

    def __repr__(self) -> str:
        return f"<row program {self.name}>"

    def _analyse(self) -> None:
        self.levels: dict[int, int] = {}
        self.per_row: set[int] = set()
        numbers = self.parameters[self.tensors :]
        self.positional = False
        for node in self.order:
            level = max((self.levels[id(a)] for a in node.args if a.__class__ is Expr), default=0)
            if node.primitive is None:
                if node.name in numbers:
                    self.per_row.add(id(node))
                self.positional = self.positional or node.name == "#"
            elif isinstance(node.primitive, RowReduction):
                if id(node.args[0]) in self.per_row:
                    raise ValueError(f"{self.name}: {node!r} reduces what has one value a row already")
                level += 1
                self.per_row.add(id(node))
            elif all(a.__class__ is not Expr or id(a) in self.per_row for a in node.args):
                self.per_row.add(id(node))
            self.levels[id(node)] = level

    def canonical(self) -> str:
        """The formula as text: one step a line, shared parts once."""
        if not self._canonical:
            numbers: dict[int, str] = {}
            steps = []
            for node in self.order:
                if node.primitive is None:
                    place = "#" if node.name == "#" else str(self.parameters.index(node.name))
                    numbers[id(node)] = f"${place}"
                    continue
                args = ",".join(numbers[id(a)] if a.__class__ is Expr else repr(a) for a in node.args)
                numbers[id(node)] = f"%{len(steps)}"
                steps.append(f"{node.primitive.name}({args})")
            results = ",".join(numbers[id(r)] for r in self.results) + f"+{self.added}" * bool(self.added)
            self._canonical = ";".join([f"{self.tensors}", *steps, results])
        return self._canonical

    def is_added(self, k: int) -> bool:
        """Whether result k is added up over all rows."""
        return k >= len(self.results) - self.added

    def reductions(self, stage: int) -> list[Expr]:
        """The reductions that a stage carries out: those whose operand needs just the ones before it."""
        return [n for n in self.order if isinstance(n.primitive, RowReduction) and self.levels[id(n)] == stage + 1]

    def _steps(self) -> list[Step]:
        """The program as elementwise operators with reductions between them."""
        names: dict[int, str] = {}
        steps: list[Step] = []

        def step(expr: Expr, reduction: str, key: str) -> None:
            cut = _substitute_nodes(expr, {i: Expr(None, (), n) for i, n in names.items()})
            if cut.primitive is None:
                steps.append(Step(None, (cut.name,), reduction, key))
                return
            used = scalar.inputs_of(cut)
            order = tuple(n for n in (*self.parameters, *names.values()) if n in used)
            # As arguments of an operator that has a gradient itself, "g" and "result" need names of their own.
            formal = tuple({"g": "grad", "result": "output"}.get(n, n) for n in order)
            cut = _substitute(cut, {n: Expr(None, (), f) for n, f in zip(order, formal)})
            op = ElementwiseOp(f"{self.name}_{len(steps)}", cut, names=formal)
            steps.append(Step(op, order, reduction, key))

        if self.positional:
            return []
        for level in range(self.stages):
            for node in self.reductions(level):
                key = f"row{len(steps)}"
                step(node.args[0], node.primitive.operator, key)  # type: ignore[union-attr]
                names[id(node)] = key
        for k, result in enumerate(self.results):
            step(result, "", f"result{k}")
        return steps

    # --- NumPy ------------------------------------------------------------------------------------------------------

    def numpy(self, arrays: list, numbers: tuple, dims: tuple, compute: Any) -> list:
        """Tier 0: the results as arrays, given native arrays of one shape.

        What is added up over all rows keeps their dimensions with size 1.
        """
        import numpy as np

        from ..codegen.layout import REDUCTIONS
        from ..runtime import interpreter

        dtype = interpreter._compute_dtype(compute)
        made: dict[int, Any] = {}
        shape = arrays[0].shape
        for node in self.order:
            if node.primitive is None:
                if node.name == "#":
                    sizes = [n if d in dims else 1 for d, n in enumerate(shape)]
                    made[id(node)] = interpreter.library(arrays[0]).arange(math.prod(sizes), dtype=dtype).reshape(sizes)
                    continue
                k = self.parameters.index(node.name)
                given = arrays[k].astype(dtype, copy=False) if k < self.tensors else numbers[k - self.tensors]
                made[id(node)] = given if k < self.tensors else dtype.type(given)
                continue
            args = [made[id(a)] if a.__class__ is Expr else a for a in node.args]
            if isinstance(node.primitive, RowReduction):
                name = node.primitive.operator
                whole = np.broadcast_to(args[0], shape)
                if name != "sum" and any(shape[d] == 0 for d in dims):  # of nothing; CuPy has no `initial`
                    sizes = [1 if d in dims else n for d, n in enumerate(shape)]
                    nothing = REDUCTIONS[name].identity(compute)
                    made[id(node)] = interpreter.library(whole).full(sizes, nothing, dtype)
                else:
                    made[id(node)] = getattr(np, name)(whole, axis=dims, keepdims=True).astype(dtype, copy=False)
            else:
                inputs = {f"a{i}": a for i, a in enumerate(args) if node.args[i].__class__ is Expr}
                names = [Expr(None, (), f"a{i}") if a.__class__ is Expr else a for i, a in enumerate(node.args)]
                made[id(node)] = interpreter.run_formula(Expr(node.primitive, tuple(names)), inputs, compute)
        rows = tuple(d for d in range(len(shape)) if d not in dims)
        return [
            np.broadcast_to(made[id(r)], shape).sum(rows, dtype=dtype, keepdims=True)
            if self.is_added(k)
            else made[id(r)]
            for k, r in enumerate(self.results)
        ]

    # --- the library's operators --------------------------------------------------------------------------------------

    def through_operators(self, given: dict[str, Any], dims: tuple, call: Callable, reduce: Callable) -> list:
        """The results by way of the library's operators, on tensors (recorded) or on values.

        call(operator, arguments) applies an elementwise operator, reduce(name, x, dims) reduces, keeping dimensions.
        """
        known = dict(given)
        for step in self.steps:
            made = known[step.names[0]] if step.op is None else call(step.op, tuple(known[n] for n in step.names))
            known[step.key] = reduce(step.reduction, made, dims) if step.reduction else made
        return [known[f"result{k}"] for k in range(len(self.results))]


def _order(results: tuple) -> list[Expr]:
    """The nodes of several expressions, arguments first, each once."""
    order: dict[int, Expr] = {}
    for r in results:
        for node in postorder(r):
            order.setdefault(id(node), node)
    return list(order.values())


def _shared(results: tuple) -> tuple:
    """The expressions with equal parts made one."""
    made: dict[int, Any] = {}
    known: dict[tuple, Expr] = {}
    for node in _order(results):
        args = tuple(made[id(a)] if a.__class__ is Expr else a for a in node.args)
        key = (node.primitive, node.name, *(id(a) if a.__class__ is Expr else (type(a), a) for a in args))
        if key not in known:
            known[key] = node if node.primitive is None else Expr(node.primitive, args)
        made[id(node)] = known[key]
    return tuple(made[id(r)] for r in results)


def _substitute_nodes(expr: Expr, replaced: dict[int, Expr]) -> Expr:
    """A copy of an expression in which some nodes, given by id, are replaced."""
    made: dict[int, Any] = dict(replaced)
    stack = [(expr, False)]
    while stack:
        node, done = stack.pop()
        if node.__class__ is not Expr or id(node) in made:
            continue
        if node.primitive is None:
            made[id(node)] = node
        elif done:
            made[id(node)] = Expr(node.primitive, tuple(made[id(a)] if a.__class__ is Expr else a for a in node.args))
        else:
            stack.append((node, True))
            stack.extend((a, False) for a in node.args)
    return made[id(expr)]
