"""The graph in Graphviz' DOT language."""

from .text import call, number, ref, summary, value

COLOURS = {"op": "#eceff1", "leaf": "#bbdefb", "input": "#ffe0b2", "constant": "#ffffff", "module": "#e1bee7"}
RESULT = "#c8e6c9"


def dot(graph, direction="backward", clusters=True, source=False):
    if direction not in ("backward", "forward"):
        raise ValueError(f'direction must be "backward" or "forward", but got {direction!r}')
    nodes = [*graph.nodes, *graph.constants]
    results = {id(node) for node, _ in graph.results}
    lines = [
        "digraph livegrad {",
        f'  graph [fontname="monospace", fontsize=10, labeljust=l, tooltip={quote(summary(graph))}];',
        '  node [shape=box, style="filled,rounded", fontname="monospace", fontsize=10, margin="0.12,0.06"];',
        '  edge [color="#607d8b", fontname="monospace", fontsize=8];',
    ]
    if clusters:
        lines += _clusters(nodes, results, source)
    else:
        lines += [f"  {_node(node, results, source)}" for node in nodes]
    for producer, consumer, _, output in graph.edges:
        ends = (consumer, producer) if direction == "backward" else (producer, consumer)
        style = " [style=dashed]" if producer.kind == "constant" else f' [label=":{output}"]' if output else ""
        lines.append(f"  n{ends[0].id} -> n{ends[1].id}{style};")
    return "\n".join([*lines, "}"])


def quote(text):
    """A quoted DOT string that shows exactly ``text``; new lines stay new lines."""
    text = str(text).replace("\0", "").replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\r", "").replace("\n", "\\n") + '"'


def _node(node, results, source):
    is_result = id(node) in results
    colour = RESULT if is_result else COLOURS[node.kind]
    label = quote("\n".join(box_lines(node, source)))
    attributes = [f"label={label}", f'fillcolor="{colour}"']
    if node.kind == "constant":
        attributes.append('style="filled,dashed"')
    elif node.kind == "module":
        attributes.append("peripheries=2")
    if is_result:
        attributes.append("penwidth=2")
    site = node.site
    tip = f"{call(node)}\n{site.filename}:{site.lineno}\n{site.line or ''}" if site is not None else ref(node)
    attributes.append(f"tooltip={quote(tip)}")
    return f"n{node.id} [{', '.join(attributes)}];"


def box_lines(node, source):
    """What is written into a node's box, as lines of text."""
    if node.kind in ("leaf", "input", "constant"):
        return [node.label or node.kind, value(node)]
    if node.kind == "module":
        return [node.op, value(node)]
    scalars = [number(item) for item in node.inputs if not hasattr(item, "kind")]
    head = f"{node.op}({', '.join(scalars)})" if scalars else node.op
    lines = [f"{node.label} = {head}" if node.label else head, node.name, value(node), node.where]
    if source and node.site is not None:
        lines.append((node.site.line or "").strip())
    return [line for line in lines if line]


def _clusters(nodes, results, source):
    """The nodes, each in the frames of the modules it ran in."""
    inside, here = {}, {}
    for node in nodes:
        path = node.module
        here.setdefault(path, []).append(node)
        while path:
            parent = path.rpartition(".")[0]
            if path in inside.setdefault(parent, {}):
                break
            inside[parent][path] = None
            path = parent
    lines, todo = [], [("", 0, False)]
    while todo:
        path, depth, closing = todo.pop()
        pad = "  " * depth
        if closing:
            lines.append(f"{pad}}}")
            continue
        if path:
            lines.append(f"{pad}subgraph {quote('cluster_' + path)} {{")
            lines.append(f'{pad}  label={quote(path)}; style="rounded"; color="#90a4ae";')
            todo.append((path, depth, True))
        lines += [f"{pad}  {_node(node, results, source)}" for node in here.get(path, ())]
        todo.extend((child, depth + 1, False) for child in reversed(inside.get(path, {})))
    return lines
