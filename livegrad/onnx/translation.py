"""Going through a recorded program, operator by operator, and writing each in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import livegrad

from ..export import ExportedProgram, InputKind
from ..export.capture import assigned
from ..export.dimensions import Dim, expect
from ..fx.node import Node, map_arg
from ..tensor import Tensor
from .errors import OnnxExporterError
from .operators import TABLE
from .writer import Value, Writer, array_of, element_type, is_value

__all__ = ["translated"]

_SIZES = {"add": "Add", "sub": "Sub", "mul": "Mul", "floordiv": "Div", "mod": "Mod"}
_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def translated(
    program: ExportedProgram, opset: int, input_names: Sequence[str] | None, output_names: Sequence[str] | None,
    custom: dict[str, Callable], initializers_are_inputs: bool,
) -> Any:  # fmt: skip
    """The model's proto."""
    from onnx import helper

    w = Writer(opset)
    _check_changes(program)
    inputs, values = _inputs(w, program, list(input_names or []))
    for node in program.graph.nodes:
        if node.op == "output":
            outputs = _outputs(w, node, values, list(output_names or []))
        elif node.op != "placeholder":
            values[node] = _node(w, node, values, custom)
    if initializers_are_inputs:
        inputs += [helper.make_tensor_value_info(i.name, i.data_type, list(i.dims)) for i in w.initializers]
    graph = helper.make_graph(w.nodes, "main", inputs, outputs, _used(w, outputs, initializers_are_inputs))
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets), producer_name="livegrad",
        producer_version=livegrad.__version__,
    )  # fmt: skip


def _used(w: Writer, outputs: list, all_of_them: bool) -> list:
    names = {name for node in w.nodes for name in node.input} | {o.name for o in outputs}
    return [i for i in w.initializers if all_of_them or i.name in names]


# --- inputs and outputs -------------------------------------------------------------------------------------------


def _inputs(w: Writer, program: ExportedProgram, names: list[str]) -> tuple[list, dict[Node, Any]]:
    """The inputs' descriptions, and what stands for each placeholder."""
    from onnx import helper

    described, values = [], dict[Node, Any]()
    specs = {s.arg.name: s for s in program.graph_signature.input_specs}
    dynamic = iter(program._dynamic)
    parameters = []
    for node in program.graph.find_nodes(op="placeholder"):
        spec = specs[node.name]
        if spec.kind is not InputKind.USER_INPUT:
            parameters.append((node, spec))
            continue
        dims: dict[int, Dim] = next(dynamic)
        val = node.meta["val"]
        if not isinstance(val, Tensor):
            values[node] = val
            continue
        name = w.unique(names.pop(0) if names else node.name)
        values[node] = Value(name, val.dtype, tuple(val.shape), tuple(dims))
        shape = [dims[k].name if k in dims else n for k, n in enumerate(val.shape)]
        described.append(helper.make_tensor_value_info(name, element_type(val.dtype), shape))
    for node, spec in parameters:
        a = array_of(program._tensor(spec))
        val = node.meta["val"]
        values[node] = Value(w.constant(a, spec.target), val.dtype, tuple(val.shape), constant=a)
    return described, values


def _outputs(w: Writer, end: Node, values: dict[Node, Any], names: list[str]) -> list:
    from onnx import helper

    described = []
    w.site = None
    for k, given in enumerate(end.args[0]):
        if given is None:
            continue
        value = values[given] if isinstance(given, Node) else w.cast(given, livegrad.tensor(given).dtype)
        if is_value(value) and value.size:
            value = w.cast(value, livegrad.int64)
        name = w.unique(names[k] if k < len(names) else f"output_{k}" if not is_value(value) else f"{value.name}_out")
        dtype = value.dtype if is_value(value) else livegrad.tensor(given).dtype
        source = value.name if is_value(value) else w.constant(value)
        w.nodes.append(helper.make_node("Identity", [source], [name], w.unique(f"node_{name}")))
        shape = None
        if is_value(value):
            shape = [None if d in value.moving else n for d, n in enumerate(value.shape)]
        described.append(helper.make_tensor_value_info(name, element_type(dtype), shape))
    return described


# --- one operator -------------------------------------------------------------------------------------------------


def _name(node: Node) -> str:
    """The name that a node's operator has in the table."""
    target: Any = node.target
    if target is getattr:
        return f"attribute_{node.args[1]}"
    name = target if isinstance(target, str) else target.__name__
    qualified = f"linalg.{name}"
    if qualified in TABLE and getattr(target, "__module__", "").startswith("livegrad.linalg"):
        return qualified
    if name.startswith("__i") and name.endswith("__"):
        return name[3:-2]  # an operator in place
    return name if name.startswith("_") else name.rstrip("_")


def _spoken(node: Node) -> str:
    """An operator as errors call it."""
    if node.op == "call_method":
        return f"Tensor.{node.target}"
    if node.target is getattr:
        return f"Tensor.{node.args[1]}"
    return f"{node.target.__module__}.{node.target.__name__}".replace("livegrad.", "", 1)


def _node(w: Writer, node: Node, values: dict[Node, Any], custom: dict[str, Callable]) -> Any:
    val = node.meta.get("val")
    w.site, w.operator = node.meta["site"], _spoken(node)
    if node.target is expect:
        return None
    if val.__class__ is int:
        return _size(w, node, values)
    if "constant" in node.meta:
        known: Tensor = node.meta["constant"]
        a = array_of(known)
        return Value(w.constant(a), known.dtype, tuple(known.shape), constant=a)
    name = _name(node)
    function = custom.get(name) or TABLE.get(name)
    if function is None:
        raise OnnxExporterError(
            f"{w.operator} has no translation to ONNX: write it with operators that have one (they are listed in "
            f"onnx.operators.TABLE), or give one as custom_translation_table. {w.site or ''}".rstrip()
        )
    args, kwargs = map_arg((node.args[:1] if node.target is getattr else node.args, node.kwargs), lambda n: values[n])
    kwargs = {_NUMPY_NAMES.get(k, k): v for k, v in kwargs.items() if k != "out"}
    w.out = val if isinstance(val, Tensor) else None
    try:
        made = function(w, *args, **kwargs)
    except TypeError as error:
        raise w.refuse(f"it is called in a way that the translation does not know ({error})") from error
    if is_value(made) and isinstance(val, Tensor):
        if made.name in {v.name for v in values.values() if is_value(v)}:
            made = w("Identity", made)
        made.dtype, made.shape, made.moving = val.dtype, tuple(val.shape), node.meta.get("moving", ())
    return made


def _size(w: Writer, node: Node, values: dict[Node, Any]) -> Any:
    """A size, or a number computed from sizes, as a Value of one int64 number."""
    args = map_arg(node.args, lambda n: values[n])
    if node.target == "size":
        made = w("Shape", args[0], start=args[1], end=args[1] + 1)
    elif node.target == "numel":
        made = w.reshape(w("Size", args[0]), [1])
    elif node.target.__name__ == "neg":
        made = w("Neg", args[0])
    else:
        made = w(_SIZES[node.target.__name__], *map(w.whole, args))
    made.size, made.dtype, made.shape = True, livegrad.int64, (1,)
    return made


def _puts_back(user: Node, node: Node) -> bool:
    """Whether a node assigns what another has changed: the second half of ``x[i] += y``."""
    return user.target is assigned and user.args[2] is node


def _check_changes(program: ExportedProgram) -> None:
    """OnnxExporterError where a change in place is seen through another tensor: there are no views in ONNX."""
    order = {node: k for k, node in enumerate(program.graph.nodes)}
    for node in program.graph.nodes:
        for other in node.meta.get("aliases", ()):
            later = [user for user in other.users if order[user] > order[node]]
            if any(not _puts_back(user, node) for user in later):
                raise OnnxExporterError(
                    f"{_spoken(node)} changes memory that {other} shares, which is used afterwards: there is no such "
                    f"thing in ONNX. Assign to the whole tensor, or make a new one. {node.meta['site'] or ''}".rstrip()
                )
