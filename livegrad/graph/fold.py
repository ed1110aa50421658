"""Folding: of the modules that repeat one structure, one is shown and the others become a node each run."""

import copy
import re

from .structure import Graph, Node


def fold(graph):
    place = {id(node): index for index, node in enumerate(graph.nodes)}
    within = _instances(graph)
    readers = {id(node): [place[id(reader)] for reader in found] for node, found in graph.readers.items()}
    folded = {}  # id of a node -> the run it belongs to
    for depth in sorted({path.count(".") for path in within}):
        families = {}
        for path, nodes in within.items():
            if path.count(".") == depth and not any(id(node) in folded for node in nodes):
                families.setdefault(re.sub(r"\d+$", "", path), []).append((path, nodes))
        for members in families.values():
            for run in _runs(members):
                for group in _possible(run, readers, place):
                    name = group[0][0] if len(group) == 1 else f"{group[0][0]} ... {group[-1][0]}"
                    nodes = sorted((node for _, found, _ in group for node in found), key=lambda node: place[id(node)])
                    entry = (f"{name} ({len(group)} x {group[0][2]})", group[0][0].rpartition(".")[0], nodes)
                    folded.update((id(node), entry) for node in nodes)
    return _rebuild(graph, folded)


def _instances(graph):
    """``{path: nodes}`` for every module path that ends in a number, with the nodes of the modules inside."""
    within = {}
    for node in graph.nodes:
        path = node.module
        while path:
            if path[-1].isdigit():
                within.setdefault(path, []).append(node)
            path = path.rpartition(".")[0]
    return within


def _runs(members):
    """Neighbours that repeat an earlier member: lists of ``(path, nodes, path of the earlier one)``."""
    first, runs, previous = {}, [], None
    for path, nodes in members:
        if sum(node.kind == "op" for node in nodes) < 2:
            continue
        key = _structure(path, nodes)
        if key not in first:
            first[key] = path
            previous = None
        elif previous == key:
            runs[-1].append((path, nodes, first[key]))
        else:
            runs.append([(path, nodes, first[key])])
            previous = key
    return runs


def _structure(path, nodes):
    """What two modules have in common if one is the other again: operators, shapes and how they are connected."""
    index = {id(node): place for place, node in enumerate(nodes)}
    return tuple(
        (
            node.kind,
            node.op,
            node.shape,
            node.dtype,
            node.module[len(path) :],
            tuple(index.get(id(item), "outside") if isinstance(item, Node) else "scalar" for item in node.inputs),
        )
        for node in nodes
    )


def _possible(run, readers, place):
    """The run as one group; as single modules where something outside runs in between; nothing where that fails too."""
    for groups in ([run], [[member] for member in run]):
        if all(_is_closed([node for _, nodes, _ in group for node in nodes], readers, place) for group in groups):
            return groups
    return []


def _is_closed(nodes, readers, place):
    inside = {place[id(node)] for node in nodes}
    end = max(inside)
    return all(reader in inside or reader > end for node in nodes for reader in readers.get(id(node), ()))


def _rebuild(graph, folded):
    stands_for, copies, ordered = {}, {}, []
    for node in graph.nodes:
        entry = folded.get(id(node))
        if entry is None:
            copies[id(node)] = copy.copy(node)
            ordered.append(copies[id(node)])
        elif node is entry[2][-1]:
            label, module, nodes = entry
            run = Node("module", label, "", node.shape, node.dtype, node.device, None, module)
            run.folded = tuple(nodes)
            ordered.append(run)
            stands_for.update((id(inner), run) for inner in nodes)
    constants = {id(node): copy.copy(node) for node in graph.constants}

    def now(node):
        return copies.get(id(node)) or stands_for.get(id(node)) or constants[id(node)]

    used = {}
    for node in ordered:
        if node.kind == "module":
            inner = {id(item) for item in node.folded}
            outside = [
                (item, output)
                for member in node.folded
                for item, output in zip(member.inputs, member.outputs)
                if isinstance(item, Node) and id(item) not in inner and item.kind != "constant"
            ]
            pairs = [(now(item), output) for item, output in dict.fromkeys(outside)]
            pairs = [(item, 0 if item.kind == "module" else output) for item, output in pairs]
            node.inputs, node.outputs = tuple(item for item, _ in pairs), tuple(output for _, output in pairs)
        else:
            node.inputs = tuple(now(item) if isinstance(item, Node) else item for item in node.inputs)
        used.update((id(item), item) for item in node.inputs if isinstance(item, Node) and item.kind == "constant")
    results = [(now(node), output) for node, output in graph.results]
    used.update((id(node), node) for node, _ in results if node.kind == "constant")
    kept = list(used.values())
    for index, node in enumerate([*ordered, *kept]):
        node.id = index
    return Graph(ordered, kept, results)
