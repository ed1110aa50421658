"""The graph as a picture: SVG, by a layout of our own, so no program is needed."""

from __future__ import annotations

from html import escape

from .dot import COLOURS, RESULT, box_lines
from .regions import Region
from .scene import PAD, ROW, Box, Frame, Path, Scene, scene
from .structure import Graph, Node
from .text import call, ref, summary

MARGIN = 12.0
STYLE = """\
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #263238 }
.box rect { stroke: #546e7a } .result rect { stroke-width: 2.5 } .constant rect { stroke-dasharray: 4 3 }
.small { fill: #607d8b } .frame rect { fill: #90a4ae; fill-opacity: 0.1; stroke: #90a4ae }
.line { fill: none; stroke: #607d8b } .dashed { stroke-dasharray: 4 3 }"""
ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0.5 L8 4 L0 7.5 z" fill="#607d8b"/></marker></defs>'
)


def svg(graph: Graph, direction: str = "backward", clusters: bool = True, source: bool = False) -> str:
    """The whole graph. The options are those of `dot`."""
    if direction not in ("backward", "forward"):
        raise ValueError(f'direction must be "backward" or "forward", but got {direction!r}')
    results = {node for node, _ in graph.results}
    made = scene(graph, lambda node: tuple(box_lines(node, source)), clusters)
    return document(made, results, direction, summary(graph))


def document(made: Scene, results: set, direction: str, title: str) -> str:
    """A scene as an SVG document."""
    width, height = made.width + 2 * MARGIN, made.height + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="{-MARGIN:g} {-MARGIN:g} {width:.0f} {height:.0f}">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}\n</style>",
            ARROW,
            *body(made, results, direction),
            "</svg>",
        ]
    )


def body(made: Scene, results: set, direction: str = "") -> list[str]:
    """The elements of a scene: frames, lines over them, boxes over those. Without a direction lines have no heads."""
    return [
        *(_frame(frame) for frame in made.frames),
        *(_path(path, direction) for path in made.paths),
        *(_box(box, results) for box in made.boxes),
    ]


def _frame(frame: Frame) -> str:
    name = escape(frame.region.path.rpartition(".")[2])
    return (
        f'<g class="frame"><title>{escape(frame.region.path)}</title>'
        f'<rect x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" height="{frame.height:.1f}" rx="8"/>'
        f'<text class="small" x="{frame.x + PAD:.1f}" y="{frame.y + 15:.1f}">{name}</text></g>'
    )


def _path(path: Path, direction: str) -> str:
    """Straight where it passes a layer, curved between layers."""
    (x, y), *rest = path.points
    steps = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        if abs(to_x - x) < 0.05:
            steps.append(f"V{to_y:.1f}")
        else:
            middle = (y + to_y) / 2
            steps.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    kinds = ["line"]
    if path.producer.kind == "constant":
        kinds.append("dashed")
    kinds += ["starts"] * path.starts + ["ends"] * path.ends
    head = ""
    if direction == "backward" and path.ends:
        head = ' marker-end="url(#arrow)"'
    elif direction == "forward" and path.starts:
        head = ' marker-start="url(#arrow)"'
    return f'<path class="{" ".join(kinds)}" data-value="{path.producer.id}" d="{" ".join(steps)}"{head}/>'


def _box(box: Box, results: set) -> str:
    what = box.what
    kind = what.kind if isinstance(what, Node) else "module"
    result = what in results
    classes = f"box {kind}{' result' if result else ''}"
    mark = f' data-region="{escape(what.path)}"' if isinstance(what, Region) else f' data-node="{what.id}"'
    middle = box.x + box.width / 2
    texts = "".join(
        f'<text{"" if k == 0 else " class=" + chr(34) + "small" + chr(34)} x="{middle:.1f}" '
        f'y="{box.y + PAD / 2 + ROW * (k + 1) - 4:.1f}" text-anchor="middle">{escape(line)}</text>'
        for k, line in enumerate(box.text)
    )
    return (
        f'<g class="{classes}"{mark}><title>{escape(_tip(what))}</title>'
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" '
        f'fill="{RESULT if result else COLOURS[kind]}"/>{texts}</g>'
    )


def _tip(what: Node | Region) -> str:
    if isinstance(what, Region):
        return what.path
    site = what.site
    return f"{call(what)}\n{site.filename}:{site.lineno}\n{site.line or ''}" if site is not None else ref(what)
