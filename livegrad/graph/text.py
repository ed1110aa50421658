"""The listing: one line a node."""


def ref(node, output=0):
    """How the listing refers to a value: ``%x``, ``%3``, ``%3:1`` (an operator's second result)."""
    if node.kind == "constant" and node.label is None:
        return f"tensor{_shape(node.shape)}"
    name = node.label or node.id
    return f"%{name}:{output}" if output else f"%{name}"


def call(node):
    """``add(%x, 2)``; a leaf is ``leaf()``."""
    if node.kind == "module":
        return node.op
    pairs = list(zip(node.inputs, node.outputs))
    shown = pairs if len(pairs) <= 16 else [*pairs[:8], *pairs[-4:]]
    operands = [ref(item, output) if hasattr(item, "kind") else number(item) for item, output in shown]
    if len(shown) < len(pairs):
        operands.insert(8, f"... {len(pairs) - len(shown):,} more ...")
    return f"{node.op}({', '.join(operands)})"


def value(node):
    """``(3,) float32``"""
    device = "" if node.device == "cpu" else f" {node.device}"
    return f"{_shape(node.shape)} {node.dtype}{device}"


def line(node):
    """One node's line, without alignment."""
    return "  ".join(filter(None, (f"{ref(node)} = {call(node)}", value(node), node.where, _module(node))))


def amount(count, unit):
    """``1.5 MB``, ``2.1 GFLOP``"""
    for prefix in ("", "k", "M", "G", "T"):
        if abs(count) < 1000 or prefix == "T":
            return f"{count:.4g} {prefix}{unit}"
        count /= 1000


def counts(totals):
    """``4 operators, 1 leaf``"""
    ops, leaves = totals["ops"], totals["leaves"]
    return f"{ops:,} operator{'s' * (ops != 1)}, {leaves:,} {'leaf' if leaves == 1 else 'leaves'}"


def summary(graph):
    """One line of totals."""
    totals = graph.totals
    parts = [f"{counts(totals)} ({amount(totals['leaf_bytes'], 'B')})"]
    parts.append(f"{amount(totals['flops'], 'FLOP')} forward" + ("" if not totals["uncounted"] else " at least"))
    kept = f"{amount(totals['kept_bytes'], 'B')} kept for backward"
    if totals["freed"]:
        kept = f"{kept}, the rest is freed" if totals["kept_bytes"] else "what backward needed is freed"
    parts.append(kept)
    return ", ".join(parts)


def listing(graph, direction="forward", max_nodes=None, source=False):
    if direction not in ("forward", "backward"):
        raise ValueError(f'direction must be "forward" or "backward", but got {direction!r}')
    nodes = graph.nodes if direction == "forward" else graph.backward
    if not nodes:
        nodes = [node for node, _ in graph.results]
    head, tail = _split(nodes, max_nodes)
    left_of = _forward if direction == "forward" else _backward
    rows = [(left_of(node), value(node), node.where, _module(node), _source(node, source)) for node in head + tail]
    widths = [min(max(map(len, column)), limit) for column, limit in zip(zip(*rows), (60, 32, 32, 24, 0))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths) if width or cell).rstrip() for row in rows
    ]
    if len(head) + len(tail) < len(nodes):
        lines.insert(len(head), f"... {len(nodes) - len(head) - len(tail):,} more nodes ...")
    if direction == "forward":
        lines.append(f"return {', '.join(ref(node, output) for node, output in graph.results)}")
    return "\n".join([f"# {summary(graph)}", *lines])


def _forward(node):
    return f"{ref(node)} = {call(node)}"


def _backward(node):
    """``MulBackward0 -> AddBackward0, AccumulateGrad %x``"""
    targets = []
    for item, output in zip(node.inputs, node.outputs):
        if hasattr(item, "kind") and item.kind != "constant":
            targets.append(_backward_name(item) + (f":{output}" if output else ""))
    arrow = f" -> {', '.join(targets)}" if targets else ""
    return f"{_backward_name(node)}{arrow}"


def _backward_name(node):
    return f"{node.name or node.op} {ref(node)}"


def _split(nodes, max_nodes):
    if max_nodes is None or len(nodes) <= max_nodes:
        return nodes, []
    first = (max_nodes + 1) // 2
    return nodes[:first], nodes[len(nodes) - (max_nodes - first) :]


def _source(node, wanted):
    site = node.site if wanted else None
    return f"| {site.line.strip()}" if site is not None and site.line else ""


def _module(node):
    return f"[{node.module}]" if node.module else ""


def _shape(shape):
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def number(scalar):
    return f"{scalar:g}" if isinstance(scalar, float) else str(scalar)
