"""The graph as an indented tree, from the result to its inputs."""

from .text import call, ref, value


def tree(graph, max_nodes=200):
    """The operand made last leads straight down (▼), the others branch off (├─▶). A shared node is shown once."""
    lines, shown = [], set()
    todo = [(node, "", "") for node, _ in reversed(graph.results)]
    while todo:
        node, lead, indent = todo.pop()
        if id(node) in shown:
            lines.append(f"{lead}{ref(node)}  (shown above)")
            continue
        if len(shown) == max_nodes:
            lines.append(f"{indent}⋮ {len(graph) - max_nodes:,} more nodes")
            break
        shown.add(id(node))
        lines.append(lead + _text(node))
        producers = [item for item in node.producers if item.kind != "constant"]
        straight = max(producers, key=lambda item: (item.kind == "op", item.id), default=None)
        if straight is not None:
            todo.append((straight, f"{indent}▼ ", indent))
        for item in reversed(producers):
            if item is not straight:
                todo.append((item, f"{indent}├─▶ ", f"{indent}│   "))
    return "\n".join(lines)


def _text(node):
    head = f"{ref(node)} = {call(node)}" if node.kind != "leaf" else ref(node)
    return "  ".join(filter(None, (head, value(node), node.where, f"[{node.module}]" if node.module else "")))
