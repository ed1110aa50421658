"""The terminal drawing: the result on top, a lane for each value that is still to come, arrows from result to input.

Nodes stand in the opposite order of execution, one a line, so whatever reads a value stands above it. A value that is
read has one lane from its last reader down; earlier readers join that lane. So a shared node appears once.
"""

from .text import call, ref, summary, value

MARKS = {"op": "●", "leaf": "■", "input": "▣", "module": "▤", "constant": "□"}
MAX_LANES = 24


def draw(graph, max_nodes=200):
    nodes = graph.backward or [node for node, _ in graph.results]
    rows = []  # (drawing, text)
    lanes = []  # for each column, the node its lane leads to, or None
    for node in nodes[:max_nodes]:
        if node in lanes:
            column = lanes.index(node)
            rows.append((_cells(lanes, {column: "▼"}), ""))
        else:
            column = _free(lanes, 0)
        lanes[column] = node
        rows.append((_cells(lanes, {column: MARKS[node.kind]}), _text(node)))
        lanes[column] = None
        _branch(lanes, column, [item for item in node.producers if item.kind != "constant"], rows)
        while lanes and lanes[-1] is None:
            lanes.pop()
    width = max((len(drawing) for drawing, _ in rows), default=0)
    lines = [f"{drawing:<{width}}  {text}".rstrip() for drawing, text in rows]
    if len(nodes) > max_nodes:
        lines.append(f"⋮ {len(nodes) - max_nodes:,} more nodes")
    return "\n".join([*lines, f"  {summary(graph)}"])


def _text(node):
    name = ref(node) if node.label is None and node.kind == "op" else ref(node)[1:]  # a number alone says nothing
    parts = [f"{name} = {call(node)}" if node.kind != "leaf" else name, value(node)]
    return "  ".join(filter(None, (*parts, node.where, f"[{node.module}]" if node.module else "")))


def _branch(lanes, column, producers, rows):
    """Leads from a node in ``column`` to its operands: the one made last straight down, the others get a row each."""
    straight = max(producers, key=lambda item: (item.kind not in ("leaf", "input"), item.id), default=None)
    elsewhere = lanes.index(straight) if straight in lanes and straight is not None else None
    lanes[column] = straight
    left_out = 0
    for item in producers:
        if item is straight:
            continue
        if len(lanes) - lanes.count(None) >= MAX_LANES and item not in lanes:
            left_out += 1
        elif item in lanes:
            rows.append((_link(lanes, column, lanes.index(item), "├┤", "┤├"), ""))
        else:
            target = _free(lanes, column + 1)
            rows.append((_link(lanes, column, target, "├┤", "╮╭"), ""))
            lanes[target] = item
    if left_out:
        rows.append((_cells(lanes, {}), f"... {left_out:,} more inputs, below without a line"))
    if elsewhere is not None:  # two lanes to one node become one: the left one
        left, right = sorted((column, elsewhere))
        rows.append((_link(lanes, left, right, "├┤", "╯╰"), ""))
        lanes[right] = None


def _free(lanes, start):
    """A column without a lane, from ``start`` on."""
    for column in range(start, len(lanes)):
        if lanes[column] is None:
            return column
    while len(lanes) <= start:
        lanes.append(None)
    if lanes[start] is not None:
        lanes.append(None)
    return len(lanes) - 1


def _cells(lanes, marks):
    count = max([len(lanes), *(column + 1 for column in marks)])
    return " ".join(
        marks.get(column, "│" if column < len(lanes) and lanes[column] is not None else " ") for column in range(count)
    ).rstrip()


def _link(lanes, start, end, starts, ends):
    """A row with a line from column ``start`` to ``end``; it crosses the lanes between. Marks: for right, for left."""
    left, right = sorted((start, end))
    cells = []
    for column in range(max(len(lanes), right + 1)):
        if column in (start, end):
            mark = (starts if column == start else ends)[end < start]
        else:
            busy = column < len(lanes) and lanes[column] is not None
            mark = ("┼" if busy else "─") if left < column < right else ("│" if busy else " ")
        cells.append(mark + ("─" if left <= column < right else " "))
    return "".join(cells).rstrip()
