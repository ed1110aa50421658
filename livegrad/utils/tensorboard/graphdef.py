"""A recorded graph as TensorBoard's GraphDef.

A node is named by the path of the module it ran in, with slashes, so TensorBoard nests the modules; its ``input`` lists
the nodes whose values it reads. Parameters have their qualified names.
"""

import re

from livegrad.graph.structure import Node
from livegrad.graph.text import call

from .require import proto

_TYPES = {
    "float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "bfloat16": "DT_BFLOAT16", "bool": "DT_BOOL",
    "int8": "DT_INT8", "int16": "DT_INT16", "int32": "DT_INT32", "int64": "DT_INT64", "uint8": "DT_UINT8",
    "uint16": "DT_UINT16", "uint32": "DT_UINT32", "uint64": "DT_UINT64", "complex64": "DT_COMPLEX64",
    "complex128": "DT_COMPLEX128",
}  # fmt: skip


def graph_def(graph):
    """The GraphDef of a :class:`livegrad.graph.Graph`, with an ``output`` node for each result."""
    nodes = [*graph.constants, *graph.nodes]
    names = node_names(nodes)
    definition = proto("graph").GraphDef(versions=proto("versions").VersionDef(producer=22))
    outputs = _outputs(graph)
    for node in nodes:
        operands = [
            _input(names[item], output) for item, output in zip(node.inputs, node.outputs) if isinstance(item, Node)
        ]
        entry = definition.node.add(name=names[node], op=_op(node), input=operands, device=_device(node.device))
        _describe(entry, node, outputs.get(node, 0))
    taken = set(names.values())
    for place, (node, output) in enumerate(graph.results):
        wanted = "output" if len(graph.results) == 1 else f"output/{place}"
        entry = definition.node.add(name=_unique(wanted, taken), op="output", device=_device(node.device))
        entry.input.append(_input(names[node], output))
        _describe_value(entry, node, 0)
    return definition


def node_names(nodes):
    """A unique name for each node; none is the name of a module too."""
    wanted = {node: _wanted(node) for node in nodes}
    taken = set()
    for name in wanted.values():
        parts = name.split("/")
        taken.update("/".join(parts[:count]) for count in range(1, len(parts)))
    return {node: _unique(name, taken) for node, name in wanted.items()}


def _wanted(node):
    scope = [_clean(part) for part in node.module.split(".") if part]
    if node.kind == "op":
        last = f"{node.label}.{node.op}" if node.label else node.op
    elif node.label is None:
        last = node.kind
    elif node.kind == "input":
        scope, last = ["input"], node.label
    else:
        last = node.label.removeprefix(f"{node.module}.") if node.module else node.label
    return "/".join([*scope, _clean(last)])


def _clean(part):
    """A name without what TensorBoard reads as something else."""
    return re.sub(r"[^\w.\->]", "_", part).lstrip("_") or "_"


def _unique(name, taken):
    unique, count = name, 0
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    taken.add(unique)
    return unique


def _op(node):
    return node.op if node.kind == "op" else {"leaf": "parameter", "constant": "Const"}.get(node.kind, node.kind)


def _input(name, output):
    return f"{name}:{output}" if output else name


def _outputs(graph):
    """The largest output number that is read, for each node."""
    largest = {}
    for edge in graph.edges:
        largest[edge.producer] = max(largest.get(edge.producer, 0), edge.output)
    for node, output in graph.results:
        largest[node] = max(largest.get(node, 0), output)
    return largest


def _device(device):
    kind, _, index = device.partition(":")
    return f"/device:{kind.upper()}:{index or 0}"


def _describe(entry, node, outputs):
    _describe_value(entry, node, outputs)
    site, count = node.site, node.flops
    texts = {
        "call": call(node) if node.kind in ("op", "module") else "",
        "backward": node.name if node.kind != "input" else "",
        "source": f"{node.where}  {(site.line or '').strip()}" if site is not None else "",
        "file": f"{site.filename}:{site.lineno} in {site.function}" if site is not None else "",
        "module": node.module,
        "kept": ", ".join(f"{name} {tuple(shape)} {dtype}" for name, shape, dtype, _ in node.kept),
    }
    for key, text in texts.items():
        if text:
            entry.attr[key].s = text.encode()
    if count:
        entry.attr["flops"].i = count


def _describe_value(entry, node, outputs):
    shapes = entry.attr["_output_shapes"].list
    shapes.shape.add(dim=[{"size": size} for size in node.shape])
    for _ in range(outputs):  # only the first result's shape is recorded
        shapes.shape.add(unknown_rank=True)
    entry.attr["dtype"].type = proto("types").DataType.Value(_TYPES.get(node.dtype, "DT_INVALID"))
    entry.attr["bytes"].i = node.bytes
