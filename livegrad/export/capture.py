"""Writing down what a program does with its inputs, as a graph of calls of public functions.

The program runs with its example inputs under a mode that sees every public function (`TorchFunctionMode`), so any
Python is allowed between them. It runs twice, the second time with other sizes for the dimensions that may change: what
differs between the two has to come from a size that was recorded (`Dimension`), or is an error.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import livegrad

from ..fx.graph import Graph
from ..fx.node import Node, map_aggregate
from ..overridden_methods import Method
from ..overrides import TorchFunctionMode
from ..site import here
from ..tensor import Tensor
from .dimensions import Dimension, expect

__all__ = ["ExportError", "Run", "assigned", "freeze"]

# Methods that read numbers out of a tensor.
_READ = frozenset((
    "item", "tolist", "numpy", "equal", "allclose", "is_nonzero", "__bool__", "__int__", "__float__", "__complex__",
    "__index__", "__contains__", "__array__", "__dlpack__",
))  # fmt: skip
_OPERATORS = {"getitem", "pow", "eq", "ne", "floordiv", "and", "or", "xor", "lshift", "rshift", "invert"}
_REFLECTED = {"rsub": "sub", "rtruediv": "truediv", "rpow": "pow", "rfloordiv": "floordiv", "rmod": "mod",
              "rmatmul": "matmul", "rand": "and", "ror": "or", "rxor": "xor"}  # fmt: skip
_RANDOM = frozenset((
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "multinomial",
    "normal", "poisson", "binomial", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "feature_alpha_dropout", "rrelu", "gumbel_softmax", "uniform_", "normal_", "random_", "bernoulli_",
    "exponential_", "geometric_", "cauchy_", "log_normal_", "empty", "empty_like", "new_empty",
))  # fmt: skip


class ExportError(RuntimeError):
    """A program cannot be written down as a graph: it does something that depends on more than its inputs' sizes."""


def assigned(x: Tensor, index: Any, value: Any) -> Tensor:
    """``x[index] = value``, as a function: x."""
    x[index] = value
    return x


def _python_operator(name: str) -> Callable:
    return getattr(operator, f"{name}_" if name in ("and", "or") else name)


def _recorded_as(func: Any, args: tuple) -> tuple[str, Any, tuple]:
    """(kind of node, target, arguments) for a call that a mode is told of."""
    owner = getattr(func, "__self__", None)
    if isinstance(owner, property):
        return "call_function", getattr, (args[0], owner.fget.__name__)  # type: ignore[union-attr]
    if not isinstance(func, Method):
        return "call_function", func, args
    name = func.__name__.strip("_") if func.__name__.startswith("__") else func.__name__
    if name == "setitem":
        return "call_function", assigned, args
    if name in _OPERATORS:
        return "call_function", _python_operator(name), args
    if name in _REFLECTED:
        return "call_function", _python_operator(_REFLECTED[name]), args[::-1]
    return "call_method", func.__name__, args


def _tensors(x: Any) -> list[Tensor]:
    """The tensors in a result."""
    if isinstance(x, Tensor):
        return [x]
    return [t for each in x for t in _tensors(each)] if isinstance(x, (tuple, list)) else []


def _plain(a: Any) -> Any:
    """Arguments with plain numbers in the place of recorded sizes."""
    if isinstance(a, Dimension):
        return int(a)
    if isinstance(a, (tuple, list)) and not hasattr(a, "_fields"):
        return type(a)([_plain(x) for x in a])
    return map_aggregate(a, lambda x: int(x) if isinstance(x, Dimension) else x) if isinstance(a, (dict, slice)) else a


class Run(TorchFunctionMode):
    """One run of a program, which becomes a graph: `tensor_input` for its inputs, then `with run:`, then `result`.

    Each node's meta has: "val", the shape and dtype of a result as tensors on the meta device, or a size; "site", the
    user's line; "varies", whether it depends on inputs or on chance; "constant", what it is where it does not;
    "moving", the dimensions whose size may change (set by `freeze`); "aliases", for a change in place, nodes whose
    results share the memory that changes.
    """

    def __init__(self) -> None:
        self.graph = Graph()
        self.constants: dict[str, Tensor] = {}  # tensors that were there before, by the names of their placeholders
        self._nodes: dict[int, Node] = {}
        self._kept: list[Tensor] = []  # what is identified by its address has to stay
        self._sizes: dict[tuple, Node] = {}
        self._first_input: Node | None = None

    # --- inputs and the result --------------------------------------------------------------------------------------

    def tensor_input(self, name: str, value: Any, varies: bool) -> Node:
        """A placeholder for an input (`varies`) or for a parameter or buffer."""
        node = self.graph.create_node("placeholder", name, (), {}, name)
        if self._first_input is None and varies:
            self._first_input = node
        node.target = node.name
        node.meta.update(varies=varies, site=None)
        self._stands_for(value, node)
        return node

    def result(self, values: list) -> Node:
        """The end of the graph: values that the program returned."""
        node = self.graph.output(tuple(self._argument(v) for v in values))
        node.meta["site"] = None
        return node

    def _stands_for(self, value: Any, node: Node) -> None:
        if isinstance(value, Tensor):
            self._kept.append(value)
            self._nodes[id(value)] = node
            node.meta["val"] = livegrad.empty(tuple(value.shape), dtype=value.dtype, device="meta")
            if not node.meta["varies"] and node.op != "placeholder":
                node.meta["known"] = value.detach().clone()  # type: ignore[attr-defined]

    def _aliases(self, t: Tensor) -> list[Node]:
        """Nodes of other tensors that share the memory of one."""
        if t._s is None:
            return []
        shared = t._s.storage
        return [self._nodes[id(k)] for k in self._kept if k is not t and k._s is not None and k._s.storage is shared]

    # --- what is recorded -------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        owner = getattr(func, "__self__", None)
        name = owner.fget.__name__ if isinstance(owner, property) else func.__name__  # type: ignore[union-attr]
        if name in _READ and isinstance(func, Method):
            self._may_read(name, args[0])
        made = func(*_plain(args), **_plain(kwargs))
        if name in ("size", "shape", "numel", "nelement", "__len__") and args and isinstance(args[0], Tensor):
            return self._sized(name, args, kwargs, made)
        if name == "__setitem__":
            made = args[0]
        elif name == "data" and func.__name__ == "__set__":
            raise ExportError(f"a program that exchanges a tensor's data cannot be exported: {here()}")
        results = _tensors(made)
        if not results or name == "grad":
            return made
        self._call(func, name, args, kwargs, made, results)
        return None if name == "__setitem__" else made

    def _call(self, func: Any, name: str, args: tuple, kwargs: dict, made: Any, results: list[Tensor]) -> None:
        kind, target, given = _recorded_as(func, args)
        node = self._node(kind, target, given, kwargs)
        node.meta["varies"] = name in _RANDOM or any(n.meta["varies"] for n in node.all_input_nodes)
        known = self._nodes.get(id(results[0]))
        changed = known is not None and args and results[0] is args[0] and (name.endswith("_") or name == "__setitem__")
        if known is not None and not changed:  # what it was given, as `contiguous` may
            node.meta["varies"] = node.meta["varies"] or known.meta["varies"]
        if changed:
            node.meta["aliases"] = self._aliases(results[0])
            node.meta["varies"] = node.meta["varies"] or known.meta["varies"]  # type: ignore[union-attr]
        if isinstance(made, Tensor):
            self._stands_for(made, node)
            return
        node.meta["val"] = made.__class__.__name__
        for place, each in enumerate(made):
            part = self._node("call_function", operator.getitem, (node, place), {})
            part.meta["varies"] = node.meta["varies"]
            if isinstance(each, Tensor):
                self._stands_for(each, part)

    def _node(self, kind: str, target: Any, args: Any, kwargs: Any) -> Node:
        given, named = self._argument(tuple(args)), {k: self._argument(v) for k, v in kwargs.items()}
        node = self.graph.create_node(kind, target, given, named)
        node.meta["site"] = here()
        node.meta["sized"] = any(n.meta.get("sized") for n in node.all_input_nodes)
        return node

    def _argument(self, a: Any) -> Any:
        """An argument of a node: nodes for tensors and recorded sizes."""
        if isinstance(a, (tuple, list)) and not hasattr(a, "_fields"):
            made = [self._argument(x) for x in a]
            return made if isinstance(a, list) else tuple(made)
        if isinstance(a, (dict, slice)) or hasattr(a, "_fields"):
            return map_aggregate(a, self._argument)
        if isinstance(a, Tensor):
            return self._nodes.get(id(a)) or self._constant(a)
        if isinstance(a, Dimension):
            return a.node if a.run is self else int(a)
        return a

    def _constant(self, t: Tensor) -> Node:
        """A placeholder for a tensor that was there before, in front of the inputs."""
        with self.graph.inserting_before(self._first_input):
            node = self.tensor_input(f"c_lifted_tensor_{len(self.constants)}", t, False)
        self.constants[node.name] = t
        return node

    def _may_read(self, name: str, x: Any) -> None:
        node = self._nodes.get(id(x)) if isinstance(x, Tensor) else None
        if node is not None and node.meta["varies"]:
            raise ExportError(
                f"the program reads numbers of a tensor that depends on its inputs, by {name}(): what it does with "
                f"them would be the same for all inputs, so it cannot be exported. {here()}"
            )

    # --- sizes ------------------------------------------------------------------------------------------------------

    def _sized(self, name: str, args: tuple, kwargs: dict, made: Any) -> Any:
        node = self._nodes.get(id(args[0]))
        if node is None or not (node.meta["varies"] or node.meta.get("sized")):
            return made
        if name in ("numel", "nelement"):
            return self._size(node, "numel", (), made)
        if isinstance(made, int):
            dim = 0 if name == "__len__" else int([*args[1:], *kwargs.values()][0]) % args[0].dim()
            return self._size(node, "size", (dim,), made)
        return livegrad.Size([self._size(node, "size", (dim,), n) for dim, n in enumerate(made)])

    def _size(self, of: Node, method: str, args: tuple, value: int) -> Dimension:
        key = (of, method, args)
        if key not in self._sizes:
            self._sizes[key] = self._node("call_method", method, (of, *args), {})
            self._sizes[key].meta.update(varies=False, sized=True, val=int(value))
        return Dimension.made(value, self._sizes[key], self)

    def computed(self, function: Callable, args: tuple, value: int) -> Dimension:
        """A size that was computed from others."""
        node = self._node("call_function", function, args, {})
        node.meta.update(varies=False, val=value)
        return Dimension.made(value, node, self)

    def compared(self, name: str, a: Any, b: Any, found: bool) -> None:
        """That two sizes were compared: the program may go on differently if they compare otherwise."""
        node = self._node("call_function", expect, (name, a, b, found), {})
        node.meta.update(varies=False, val=None)


# --- two runs -----------------------------------------------------------------------------------------------------


def _text(a: Any, names: dict) -> str:
    """An argument as text in which nodes have their places."""
    if isinstance(a, Node):
        return f"node {names[a]}"
    if isinstance(a, (tuple, list)):
        return f"{type(a).__name__}({', '.join(_text(x, names) for x in a)})"
    if isinstance(a, dict):
        return str({k: _text(v, names) for k, v in a.items()})
    if isinstance(a, slice):
        return f"slice({', '.join(_text(x, names) for x in (a.start, a.stop, a.step))})"
    return repr(a)


def freeze(first: Run, second: Run) -> None:
    """Check that two runs did the same, and put numbers in the place of sizes that were the same in both.

    Raises ExportError where the program went another way, or where a number differs that is not recorded.
    """
    mine, others = first.graph.nodes, second.graph.nodes
    places: dict[Node, int] = {}
    for k, (a, b) in enumerate(zip(mine, others)):
        places[a] = places[b] = k
        same = a.op == b.op and a.target == b.target
        if same and _text((a.args, a.kwargs), places) == _text((b.args, b.kwargs), places):
            continue
        if same and a.target is expect:
            raise ExportError(
                "the program compares sizes, and would go on differently for others that dynamic_shapes allows: "
                f"{a.args[1].meta['val']} became {b.args[1].meta['val']}. {a.meta['site']}"
            )
        if same and a.op != "output":
            name = a.target if isinstance(a.target, str) else a.target.__name__
            raise ExportError(
                f"the program gives {name} another argument when it runs a second time, or with other sizes: "
                f"{_text((a.args, a.kwargs), places)} became {_text((b.args, b.kwargs), places)}. {a.meta['site']}"
            )
        raise ExportError(
            "the program does something else when it runs a second time, or with other sizes: first "
            f"{a.format_node()}, then {b.format_node()}. {a.meta['site']}"
        )
    if len(mine) != len(others):
        longer = mine if len(mine) > len(others) else others
        raise ExportError(
            "the program does something else when it runs a second time, or with other sizes. "
            f"{longer[min(len(mine), len(others))].meta['site']}"
        )
    for name, t in first.constants.items():
        if second.constants.get(name) is not t:
            raise ExportError(
                "the program uses a tensor that no public function has made, and that is another one each time it runs"
            )
    for a, b in zip(mine, others):
        value = a.meta.get("val")
        if isinstance(value, Tensor):
            sizes = zip(value.shape, b.meta["val"].shape)
            a.meta["moving"] = tuple([d for d, (m, n) in enumerate(sizes) if m != n])
        computed = a.op == "call_function" and bool(a.all_input_nodes)  # of sizes that change, though it may not
        if a.op != "placeholder" and not computed and value.__class__ is int and value == b.meta["val"]:
            for user in list(a.users):
                args, kwargs = _replaced(user, a, value)
                user._set(args, kwargs)
            first.graph.erase_node(a)
        elif a.op == "call_function" and a.target is expect and not a.all_input_nodes:
            first.graph.erase_node(a)
    unused = [n for n in first.graph.nodes if n.op != "placeholder" and n.meta.get("val").__class__ is int]
    for node in reversed(unused):
        if not node.users:
            first.graph.erase_node(node)
    _find_constants(first.graph)


def _find_constants(graph: Graph) -> None:
    fixed: set[Node] = set()
    for node in graph.nodes:
        known = node.meta.pop("known", None)
        size = node.meta.get("val").__class__ is int
        if node.meta.get("varies") or size or not all(n in fixed for n in node.all_input_nodes):
            continue
        fixed.add(node)
        if known is not None:
            node.meta["constant"] = known


def _replaced(user: Node, node: Node, value: int) -> tuple:
    return map_aggregate((user.args, user.kwargs), lambda x: value if x is node else x)
