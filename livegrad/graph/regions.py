"""The graph by modules: what ran in each call of a module, and which values enter and leave it."""

from __future__ import annotations

from collections.abc import Iterator

from .structure import Graph, Node


class Region:
    """What ran while one module ran, in the order of execution: nodes, and regions of the modules inside.

    ``enters`` and ``leaves`` are the nodes whose values cross its border. The outermost region has no path and is the
    whole graph.
    """

    __slots__ = ("enters", "leaves", "members", "parent", "path")

    def __init__(self, path: str, parent: Region | None):
        self.path, self.parent = path, parent
        self.members: list[Node | Region] = []
        self.enters: dict[Node, None] = {}
        self.leaves: dict[Node, None] = {}

    def chain(self) -> list[Region]:
        """This region and those around it, from the inside out."""
        found: list[Region] = []
        region: Region | None = self
        while region is not None:
            found.append(region)
            region = region.parent
        return found

    def nodes(self) -> Iterator[Node]:
        """All nodes inside, at any depth."""
        todo: list[Node | Region] = list(reversed(self.members))
        while todo:
            member = todo.pop()
            if isinstance(member, Region):
                todo.extend(reversed(member.members))
            else:
                yield member

    def regions(self) -> list[Region]:
        """This region and all inside it."""
        found = [self]
        for region in found:
            found += [member for member in region.members if isinstance(member, Region)]
        return found


class Regions:
    """``whole``: the outermost region. ``home``: the region of each node."""

    def __init__(self, graph: Graph, modules: bool = True):
        """modules: whether there are regions at all; without, everything is in the outermost one."""
        self.whole = Region("", None)
        self.home: dict[Node, Region] = {}
        placed = set()
        here = self.whole
        for node in graph.nodes:
            if node.kind not in ("op", "module"):
                continue
            here = _entered(here, node.module if modules else "")
            for item in node.inputs:
                if isinstance(item, Node) and item.kind not in ("op", "module") and item not in placed:
                    placed.add(item)
                    around = _around(here, item.module)
                    self._put(item, around, len(around.members) - (around is not here))  # before the reader's region
            self._put(node, here, len(here.members))
        for node in (*graph.nodes, *graph.constants):  # results that no operator made
            if node not in self.home:
                self._put(node, self.whole, len(self.whole.members))
        for edge in graph.edges:
            inner, outer = self.home[edge.consumer].chain(), self.home[edge.producer].chain()
            for region in inner:
                if region not in outer:
                    region.enters[edge.producer] = None
            for region in outer:
                if region not in inner:
                    region.leaves[edge.producer] = None

    def _put(self, node: Node, region: Region, place: int) -> None:
        region.members.insert(place, node)
        self.home[node] = region


def _entered(here: Region, path: str) -> Region:
    """The region of `path`, where `here` is the one that ran until now: left and entered as far as is needed."""
    while here.parent is not None and here.path != path and not path.startswith(here.path + "."):
        here = here.parent
    while here.path != path:
        rest = path[len(here.path) + 1 :] if here.path else path
        step = rest.partition(".")[0]
        inner = Region(f"{here.path}.{step}" if here.path else step, here)
        here.members.append(inner)
        here = inner
    return here


def _around(region: Region, path: str) -> Region:
    """Where a leaf belongs: the region of its module if that is around its first reader, else the reader's own."""
    for candidate in region.chain():
        if candidate.path == path:
            return candidate
    return region
