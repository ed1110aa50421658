"""The picture of a graph as boxes, frames and lines with coordinates: modules are laid out inside out.

Each region is arranged on its own, with its borders' crossing points as items of the first and the last layer; an open
region is then one box in the region around it, and lines go on from its crossing points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .layers import Item, Line, arrange
from .regions import Region, Regions
from .structure import Graph, Node

# Sizes, in pixels of an SVG at its natural size. The letters are monospaced.
LETTER, ROW, PAD = 7.25, 16.0, 9.0
GAP, ROW_GAP, TITLE = 26.0, 38.0, 22.0


class Box(NamedTuple):
    """A node, or a closed region, with its lines of text."""

    what: Node | Region
    text: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


class Frame(NamedTuple):
    """An open region."""

    region: Region
    x: float
    y: float
    width: float
    height: float


class Path(NamedTuple):
    """A line from a consumer down to a producer, or a part of it: it may end at another line that goes there."""

    points: tuple[tuple[float, float], ...]
    producer: Node
    starts: bool  # at a box, and not at a border
    ends: bool  # the same


class Scene(NamedTuple):
    width: float
    height: float
    boxes: list[Box]
    frames: list[Frame]
    paths: list[Path]


class _Open(NamedTuple):
    """An open region that has been arranged: its scene, and where values cross its border."""

    scene: Scene
    leaves: dict[Node, float]
    enters: dict[Node, float]


def scene(graph: Graph, text: Callable[[Node | Region], tuple[str, ...]], modules: bool = True) -> Scene:
    """The whole graph. text: the lines to be written into a box. modules: whether to frame what ran in them."""
    return view(graph, Regions(graph, modules), None, text)


def view(graph: Graph, regions: Regions, only: Region | None, text: Callable) -> Scene:
    """A picture of the graph with all modules open; or of the inside of one region, `only`, with those in it closed.

    What enters that region and leaves it is then shown as boxes of the nodes outside.
    """
    inner_first = reversed(regions.whole.regions()) if only is None else [only]
    made: dict[Region, _Open] = {}
    for region in inner_first:
        made[region] = _arranged(region, regions, graph, made, text, outside=only is not None)
    return made[regions.whole if only is None else only].scene


def _arranged(region: Region, regions: Regions, graph: Graph, made: dict, text: Callable, outside: bool) -> _Open:
    """One region. made: the open ones inside. outside: whether it is shown alone, with boxes for what enters it."""
    members = list(reversed(region.members))
    leaves = {} if outside else region.leaves
    things: list = [*leaves, *members, *region.enters]
    crossing = set(range(len(leaves))) | set(range(len(things) - len(region.enters), len(things)))
    items, texts = [], {}
    for k, thing in enumerate(things):
        if k in crossing and not outside:
            items.append(Item(0.0, 0.0, weight=4.0))
        elif thing in made:
            items.append(Item(made[thing].scene.width, made[thing].scene.height))
        else:
            texts[k] = text(thing)
            items.append(Item(max(map(len, texts[k])) * LETTER + 2 * PAD, len(texts[k]) * ROW + PAD))
    index = {thing: k for k, thing in enumerate(things) if k not in crossing}
    leaving = {node: k for k, node in enumerate(leaves)}
    entering = {node: len(things) - len(region.enters) + k for k, node in enumerate(region.enters)}

    def below(node: Node) -> tuple[int, float]:
        """The item on this level that a value comes from, and the place on it."""
        if node in entering:
            k = entering[node]
            return k, items[k].width / 2
        member = _member(regions.home[node], region, node)
        k = index[member]
        return k, made[member].leaves[node] if member in made else items[k].width / 2

    lines: dict[Line, Node] = {}
    for node, k in leaving.items():
        end, place = below(node)
        lines[Line(k, end, items[k].width / 2, place)] = node
    for k, thing in enumerate(things):
        if k in crossing:
            continue
        read = thing.enters if isinstance(thing, Region) else dict.fromkeys(thing.producers)
        for node in read:
            start = made[thing].enters[node] if thing in made else items[k].width / 2
            end, place = below(node)
            lines[Line(k, end, start, place)] = node
    picture = arrange(items, list(lines), gap=GAP, row_gap=ROW_GAP, last=frozenset(entering.values()))
    return _framed(region, things, items, texts, made, list(lines.items()), picture, leaving, entering, outside)


def _member(home: Region, region: Region, node: Node) -> Node | Region:
    """What stands for a node in a region around it: itself, or the region inside that it is in."""
    inner: Node | Region = node
    for around in home.chain():
        if around is region:
            return inner
        inner = around
    raise ValueError(f"{node} is not inside {region.path!r}")


def _framed(region, things, items, texts, made, lines, picture, leaving, entering, outside) -> _Open:
    """What was arranged, with room for the frame where there is one, as a scene."""
    framed = region.parent is not None and not outside
    dx, dy = (PAD, TITLE) if framed else (0.0, 0.0)
    title = len(region.path.rpartition(".")[2]) * LETTER + 2 * PAD if framed else 0.0
    width = max(picture.width + 2 * dx, title)
    dx = (width - picture.width) / 2
    height = picture.height + dy + (PAD if framed else 0.0)
    boxes, frames, paths = [], [], []
    if framed:
        frames.append(Frame(region, 0.0, 0.0, width, height))
    for k, (thing, item) in enumerate(zip(things, items)):
        x, y = item.x + dx, item.y + dy
        if k in texts:
            boxes.append(Box(thing, texts[k], x, y, item.width, item.height))
        elif thing in made:
            inner = made[thing].scene
            boxes += [b._replace(x=b.x + x, y=b.y + y) for b in inner.boxes]
            frames += [f._replace(x=f.x + x, y=f.y + y) for f in inner.frames]
            paths += [p._replace(points=tuple((px + x, py + y) for px, py in p.points)) for p in inner.paths]
    for (line, node), points, joined in zip(lines, picture.paths, picture.joined):
        moved = tuple((px + dx, py + dy) for px, py in points)
        if line.start in leaving.values() and framed:
            moved = ((moved[0][0], 0.0), *moved)
        if line.end in entering.values() and framed and not joined:
            moved = (*moved, (moved[-1][0], height))
        paths.append(Path(moved, node, line.start in texts, line.end in texts and not joined))
    return _Open(
        Scene(width, height, boxes, frames, paths),
        {node: items[k].x + dx for node, k in leaving.items()},
        {node: items[k].x + dx for node, k in entering.items()},
    )
