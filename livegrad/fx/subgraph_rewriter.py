"""Finding a pattern of calls in a graph, and putting another one in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from livegrad.nn.module import Module
from livegrad.nn.parameter import Parameter
from livegrad.tensor import Tensor

from .graph import Graph
from .graph_module import GraphModule
from .node import Node, map_arg
from .tracer import Tracer

__all__ = ["Match", "ReplacedPatterns", "replace_pattern", "replace_pattern_with_filters"]


class Match(NamedTuple):
    """A place where a pattern was found. anchor: the node that computes its result. nodes_map: the graph's node (or
    value) for each of the pattern."""

    anchor: Node
    nodes_map: dict[Node, Node]


class InternalMatch(NamedTuple):
    """A match as filters see it. anchors: the nodes of the pattern that compute its results. nodes_map: as in `Match`.
    placeholder_nodes, returning_nodes: of the graph, for the pattern's parameters and results."""

    anchors: list[Node]
    nodes_map: dict[Node, Node]
    placeholder_nodes: list[Any]
    returning_nodes: list[Node]


class ReplacedPatterns(NamedTuple):
    """A `Match`, and the nodes that were put in its place."""

    anchor: Node
    nodes_map: dict[Node, Node]
    replacements: list[Node]


def _graph_of(pattern: Any) -> Graph:
    if isinstance(pattern, GraphModule):
        return pattern.graph
    return pattern if isinstance(pattern, Graph) else Tracer().trace(pattern)


class Matcher:
    """Compares parts of a graph with a pattern.

    ignore_literals: whether numbers and words in the pattern may be others in the graph.
    """

    def __init__(self, pattern: Graph, module: Any, ignore_literals: bool = False):
        self.pattern, self.module, self.ignore_literals = pattern, module, ignore_literals
        self.inputs = [n for n in pattern.nodes if n.op == "placeholder"]
        results: list[Node] = []
        map_arg(pattern.output_node().args, results.append)
        if not results:
            raise ValueError("the pattern computes nothing")
        self.results = results
        self.inner = [n for n in pattern.nodes if n.op not in ("placeholder", "output")]

    def at(self, node: Node, taken: set) -> Match | None:
        """The match whose (first) result a node computes, without nodes that are taken."""
        found: dict[Any, Any] = {}
        if not self._same(self.results[0], node, found):
            return None
        for other in self.results[1:]:
            if other not in found and not any(self._same(other, n, found) for n in node.graph.nodes):
                return None
        inside = {found[n] for n in self.inner if n in found}
        if len(found) < len(self.inner) or inside & taken or any(n not in found for n in self.inner):
            return None
        for n in self.inner:
            if n not in self.results and not set(found[n].users) <= inside:
                return None  # somebody else needs what would be gone
        return Match(node, found)

    def shown(self, match: Match) -> InternalMatch:
        """A match for filters."""
        inputs, results = ([match.nodes_map[n] for n in nodes] for nodes in (self.inputs, self.results))
        return InternalMatch(self.results, match.nodes_map, inputs, results)

    def _same(self, wanted: Node, node: Any, found: dict) -> bool:
        if wanted in found:
            return found[wanted] is node or (not isinstance(node, Node) and found[wanted] == node)
        if wanted.op == "placeholder":
            found[wanted] = node
            return True
        if not isinstance(node, Node) or node.op != wanted.op or not self._same_target(wanted, node):
            return False
        trial = {**found, wanted: node}
        if not self._same_argument(list(wanted.args), list(node.args), trial):
            return False
        if not self._same_argument(dict(wanted.kwargs), dict(node.kwargs), trial):
            return False
        found.update(trial)
        return True

    def _same_target(self, wanted: Node, node: Node) -> bool:
        if wanted.op == "call_module":
            ours, its = _at(self.module, node.target), _at(wanted.graph.owning_module, wanted.target)
            return node.target == wanted.target if its is None or ours is None else type(ours) is type(its)
        if wanted.op == "get_attr":
            return node.target.rpartition(".")[2] == wanted.target.rpartition(".")[2]
        return node.target == wanted.target

    def _same_argument(self, wanted: Any, given: Any, found: dict) -> bool:
        if isinstance(wanted, Node):
            return self._same(wanted, given, found)
        if isinstance(wanted, (list, tuple)):
            return (
                isinstance(given, (list, tuple))
                and len(wanted) == len(given)
                and all(self._same_argument(w, g, found) for w, g in zip(wanted, given))
            )
        if isinstance(wanted, dict):
            return (
                isinstance(given, dict)
                and wanted.keys() == given.keys()
                and all(self._same_argument(w, given[k], found) for k, w in wanted.items())
            )
        if isinstance(wanted, slice):
            if not isinstance(given, slice):
                return False
            ours, its = ((s.start, s.stop, s.step) for s in (wanted, given))
            return self._same_argument(ours, its, found)
        if isinstance(given, Node):
            return False
        return self.ignore_literals or (type(wanted) is type(given) and wanted == given)


def _at(module: Any, path: str) -> Any:
    """What a module has at a path, or None."""
    for atom in path.split("."):
        module = getattr(module, atom, None)
    return module


def replace_pattern(gm: GraphModule, pattern: Any, replacement: Any) -> list[Match]:
    """Put another computation wherever a pattern is found in a module's graph; the module is changed.

    pattern, replacement: functions, or `GraphModule`s, with the same number of parameters, which stand for anything.
    Matches do not overlap: the one that is met first counts. Nothing outside may use what the pattern computes on the
    way to its result. Returns the matches. Raises ValueError for a different number of parameters.

    >>> import livegrad
    >>> from livegrad import fx
    >>> traced = fx.symbolic_trace(lambda x, y: livegrad.neg(x) + livegrad.neg(y))
    >>> matches = replace_pattern(traced, lambda a, b: livegrad.neg(a) + livegrad.neg(b), lambda a, b: -(a + b))
    >>> len(matches), traced(livegrad.tensor(1.0), livegrad.tensor(2.0))
    (1, tensor(-3.))
    """
    return [Match(m.anchor, m.nodes_map) for m in replace_pattern_with_filters(gm, pattern, replacement)]


def replace_pattern_with_filters(
    gm: GraphModule,
    pattern: Any,
    replacement: Any = None,
    match_filters: Sequence[Callable] | None = None,
    ignore_literals: bool = False,
    replacement_callback: Callable | None = None,
    node_name_match: str = "",
) -> list[ReplacedPatterns]:
    """`replace_pattern` where all of some functions ``filter(match, graph, pattern_graph)`` agree.

    ignore_literals: numbers of the pattern may be others in the graph. replacement_callback: makes the graph that
    replaces a match: ``callback(match, graph, pattern_graph)``.
    """
    wanted = _graph_of(pattern)
    matcher = Matcher(wanted, gm, ignore_literals)
    new = None if replacement is None else _graph_of(replacement)
    places = [n for n in (new.nodes if new is not None else ()) if n.op == "placeholder"]
    if new is not None and len(places) != len(matcher.inputs):
        raise ValueError(
            f"the pattern has {len(matcher.inputs)} parameters, and what replaces it {len(places)}: give it as many"
        )
    taken: set = set()
    matches: list[Match] = []
    for node in gm.graph.nodes:
        match = matcher.at(node, taken)
        if match is not None and all(allows(matcher.shown(match), gm.graph, wanted) for allows in match_filters or ()):
            taken |= {match.nodes_map[n] for n in matcher.inner}
            matches.append(match)
    made = []
    now: dict[Node, Any] = {}  # what stands for nodes that are gone
    for match in matches:
        graph = (
            replacement_callback(matcher.shown(match), gm.graph, wanted) if replacement_callback is not None else new
        )
        made.append(_replace(gm, match, matcher, graph, now))
    gm.recompile()
    if isinstance(replacement, Module):
        _take_attributes(gm, replacement)
    return made


def _replace(gm: GraphModule, match: Match, matcher: Matcher, new: Any, now: dict) -> ReplacedPatterns:
    inside = [match.nodes_map[n] for n in matcher.inner]
    inputs = [match.nodes_map.get(n) for n in matcher.inputs]
    inputs = [now.get(n, n) if isinstance(n, Node) else n for n in inputs]
    values = dict(zip([n for n in new.nodes if n.op == "placeholder"], inputs))
    users = {user for n in matcher.results for user in match.nodes_map[n].users} - set(inside)
    before = set(gm.graph.nodes)
    with gm.graph.inserting_before(min(users, key=lambda n: n._place())):
        results: list = []
        found = gm.graph.graph_copy(new, values)
        map_arg(found, results.append)
        if not results and found is not None:
            results = [found]
    replacements = [n for n in gm.graph.nodes if n not in before]
    for old, result in zip((match.nodes_map[n] for n in matcher.results), results):
        old.replace_all_uses_with(result)
        now[old] = result
    for node in sorted(inside, key=lambda n: -n._place()):
        gm.graph.erase_node(node)
    return ReplacedPatterns(match.anchor, match.nodes_map, replacements)


def _take_attributes(gm: GraphModule, source: Module) -> None:
    """Give a module what its new nodes name, from the module that they come from."""
    gm.delete_all_unused_submodules()
    for node in gm.graph.nodes:
        if node.op not in ("call_module", "get_attr") or _at(gm, node.target) is not None:
            continue
        value = _at(source, node.target)
        if value is None:
            raise RuntimeError(
                f'Attempted to create a "{node.op}" node during subgraph rewriting with target {node.target}, but the '
                "referenced attribute does not exist in the replacement GraphModule"
            )
        *way, last = node.target.split(".")
        place: Any = gm
        for atom in way:
            if not hasattr(place, atom):
                setattr(place, atom, Module())
            place = getattr(place, atom)
        if isinstance(value, Tensor) and not isinstance(value, Parameter):
            place.register_buffer(last, value)
        else:
            setattr(place, last, value)
