"""Exported programs in files. Loading one runs nothing but the library's public functions, which the file names."""

from __future__ import annotations

import keyword
import operator
import os
from typing import Any, BinaryIO

import livegrad

from .. import serialization
from ..fx.graph import Graph
from ..fx.node import Node, qualified_name
from ..overriding import ANNOUNCED
from ..tensor import Tensor
from ..utils import _pytree as pytree
from .capture import assigned
from .dimensions import Dim, expect
from .program import ExportedProgram, ExportGraphSignature, InputKind, InputSpec, OutputKind, OutputSpec, TensorArgument

__all__ = ["load", "save"]

_VERSION = 1
_OWN = {"assigned": assigned, "expect": expect, "getattr": getattr}
_OPERATORS = frozenset((
    "getitem", "pow", "eq", "ne", "floordiv", "and_", "or_", "xor", "lshift", "rshift", "invert", "sub", "truediv",
    "mod", "matmul", "add", "mul", "neg",
))  # fmt: skip
_VALUES = (
    "contiguous_format",
    "channels_last",
    "channels_last_3d",
    "preserve_format",
    "strided",
    "sparse_coo",
    "jagged",
)


def save(ep: ExportedProgram, f: str | os.PathLike | BinaryIO) -> None:
    """Write an exported program, with its parameters and example inputs, to a file, for `load`.

    The file is livegrad's own: PyTorch does not read it. Raises TypeError for a program with arguments that cannot be
    written, as functions, or with inputs in containers of classes of the program's own.

    >>> import io, livegrad
    >>> from livegrad import nn
    >>> net, file = nn.Linear(3, 2), io.BytesIO()
    >>> livegrad.export.save(livegrad.export.export(net, (livegrad.ones(4, 3),)), file)
    >>> _ = file.seek(0)
    >>> again = livegrad.export.load(file).module()
    >>> x = livegrad.rand(4, 3)
    >>> bool((again(x) == net(x)).all())
    True
    """
    signature = ep.graph_signature
    inputs = [(s.kind.name, s.arg.name, s.target, s.persistent) for s in signature.input_specs]
    outputs = [s.arg.name if isinstance(s.arg, TensorArgument) else {"is": s.arg} for s in signature.output_specs]
    serialization.save({
        "format": "livegrad.export", "version": _VERSION, "nodes": [_written(n) for n in ep.graph.nodes],
        "inputs": inputs, "outputs": outputs, "state_dict": ep.state_dict, "constants": ep.constants,
        "in_structure": _structure(ep._in_spec), "out_structure": _structure(ep._out_spec),
        "dynamic": [{k: (d.root.name, d.root.min, d.root.max, d.factor, d.added) for k, d in each.items()}
                    for each in ep._dynamic],
        "example_inputs": ep.example_inputs,
    }, f)  # fmt: skip


def load(f: str | os.PathLike | BinaryIO) -> ExportedProgram:
    """The program in a file that `save` wrote.

    Nothing in the file is executed, but for public functions of the library and Python's operators, by their names.
    Raises ValueError for another kind of file, or one that names anything else.
    """
    found = serialization.load(f)
    if not isinstance(found, dict) or found.get("format") != "livegrad.export":
        raise ValueError("expected a file that livegrad.export.save wrote, but this is another one")
    if found["version"] != _VERSION:
        raise ValueError(f"expected version {_VERSION} of the format, but the file has {found['version']}")
    graph, nodes = Graph(), dict[str, Node]()
    for each in found["nodes"]:
        nodes[each["name"]] = _read(graph, each, nodes)
    signature = ExportGraphSignature(
        [InputSpec(InputKind[kind], TensorArgument(n), target, kept) for kind, n, target, kept in found["inputs"]],
        [OutputSpec(OutputKind.USER_OUTPUT, s["is"] if isinstance(s, dict) else TensorArgument(s))
         for s in found["outputs"]],
    )  # fmt: skip
    return ExportedProgram(
        graph, signature, found["state_dict"], found["constants"],
        (pytree.tree_structure(found["in_structure"]), pytree.tree_structure(found["out_structure"])),
        _dims(found["dynamic"]), found["example_inputs"],
    )  # fmt: skip


def _structure(spec: Any) -> Any:
    """A structure as plain containers of numbers."""
    made = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)

    def check(x: Any) -> None:
        if type(x) not in (tuple, list, dict, int):
            raise TypeError(
                f"inputs and results in a {type(x).__name__} cannot be saved: only in tuples, lists and dicts"
            )
        for y in x.values() if isinstance(x, dict) else x if isinstance(x, (tuple, list)) else ():
            check(y)

    check(made)
    return made


def _dims(dynamic: list) -> list[dict[int, Dim]]:
    roots: dict[str, Dim] = {}
    made: list[dict[int, Dim]] = []
    for each in dynamic:
        made.append({})
        for k, (name, least, most, factor, added) in each.items():
            root = roots.setdefault(name, Dim(name, min=least, max=most))
            made[-1][k] = root if (factor, added) == (1, 0) else factor * root + added
    return made


# --- nodes --------------------------------------------------------------------------------------------------------


def _written(node: Node) -> dict:
    value = node.meta.get("val")
    described = {"dtype": str(value.dtype)[6:], "shape": tuple(value.shape)} if isinstance(value, Tensor) else value
    target = node.target if isinstance(node.target, str) else _name(node.target)
    return {
        "name": node.name, "op": node.op, "target": target, "args": _encoded(node.args),
        "kwargs": _encoded(node.kwargs), "val": described, "varies": node.meta.get("varies"),
        "moving": node.meta.get("moving", ()),
    }  # fmt: skip


def _name(function: Any) -> str:
    own = next((name for name, f in _OWN.items() if f is function), None)
    name = own or qualified_name(function).replace("_operator.", "operator.")
    if _function(name) != function:
        raise TypeError(f"{function} cannot be saved: the library has no public function of that name")
    return name


def _function(name: str) -> Any:
    """The function of a name: one of the library's public ones, or an operator. ValueError for any other."""
    if name in _OWN:
        return _OWN[name]
    place, _, last = name.rpartition(".")
    if place == "operator" and last in _OPERATORS:
        return getattr(operator, last)
    found: Any = livegrad
    root, *way = name.split(".")
    for atom in way:
        found = getattr(found, atom, None) if not atom.startswith("__") else None
    if root != "torch" or not callable(found) or isinstance(found, type) or found not in ANNOUNCED:
        raise ValueError(f"expected the name of a public function, but the program has {name!r}")
    return found


def _identifier(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"expected a name, but the program has {name!r}")
    return name


def _read(graph: Graph, each: dict, nodes: dict[str, Node]) -> Node:
    op, target = each["op"], each["target"]
    args, kwargs = _decoded(each["args"], nodes), _decoded(each["kwargs"], nodes)
    if op == "call_function":
        target = _function(target)
        if target is getattr and not (
            len(args) == 2 and not kwargs and isinstance(args[0], Node) and _is_plain(args[1])
        ):
            raise ValueError(f"expected an attribute of a tensor, but the program has {each['args']}")
    elif op == "call_method":
        if not (_is_plain(target) or (target.startswith("__i") and hasattr(Tensor, target))) or not isinstance(
            args[0], Node
        ):
            raise ValueError(f"expected a method of tensors, but the program has {target!r}")
    elif op not in ("placeholder", "output"):
        raise ValueError(f"expected a call, an input or the result, but the program has {op!r}")
    for key in kwargs:
        _identifier(key)
    node = graph.create_node(op, _identifier(target) if op == "placeholder" else target, args, kwargs,
                             _identifier(each["name"]))  # fmt: skip
    value = each["val"]
    if isinstance(value, dict):
        value = livegrad.empty(value["shape"], dtype=getattr(livegrad, value["dtype"]), device="meta")
    node.meta.update(val=value, varies=each["varies"], moving=each["moving"], site=None)
    return node


def _is_plain(name: Any) -> bool:
    """Whether a name is one of a tensor's public methods or attributes."""
    return isinstance(name, str) and not name.startswith("_") and name.isidentifier() and hasattr(Tensor, name)


def _encoded(a: Any) -> Any:
    """An argument in plain containers; what is none is a dictionary that says what it is."""
    if isinstance(a, Node):
        return {"node": a.name}
    if isinstance(a, (tuple, list)) and not hasattr(a, "_fields"):
        made = [_encoded(x) for x in a]
        return made if isinstance(a, list) else tuple(made)
    if isinstance(a, dict):
        return {"dict": {k: _encoded(v) for k, v in a.items()}}
    if isinstance(a, slice):
        return {"slice": [_encoded(x) for x in (a.start, a.stop, a.step)]}
    if a is ...:
        return {"ellipsis": True}
    if isinstance(a, livegrad.dtype):
        return {"dtype": str(a)[6:]}
    if isinstance(a, livegrad.device):
        return {"device": str(a)}
    for name in _VALUES:
        if a is getattr(livegrad, name):
            return {"value": name}
    if a is None or isinstance(a, (bool, int, float, complex, str)):
        return a
    raise TypeError(f"an argument of the program cannot be saved: {a!r}")


def _decoded(a: Any, nodes: dict[str, Node]) -> Any:
    if isinstance(a, (tuple, list)):
        made = [_decoded(x, nodes) for x in a]
        return made if isinstance(a, list) else tuple(made)
    if not isinstance(a, dict):
        return a
    ((kind, value),) = a.items()
    if kind == "node":
        return nodes[value]
    if kind == "dict":
        return {k: _decoded(v, nodes) for k, v in value.items()}
    if kind == "slice":
        return slice(*(_decoded(x, nodes) for x in value))
    if kind == "ellipsis":
        return ...
    if kind == "value" and value in _VALUES:
        return getattr(livegrad, value)
    if kind == "device":
        return livegrad.device(value)
    if kind == "dtype" and isinstance(getattr(livegrad, value, None), livegrad.dtype):
        return getattr(livegrad, value)
    raise ValueError(f"expected an argument, but the program has {a!r}")
