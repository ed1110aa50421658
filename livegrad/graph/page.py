"""The graph as a page for a browser: one file, with the pictures of all modules and what is known of every step."""

from __future__ import annotations

import json
import tempfile
import webbrowser
from html import escape
from importlib import resources
from pathlib import Path

from .dot import box_lines
from .regions import Region, Regions
from .scene import Scene, view
from .structure import Graph, Node
from .svg import ARROW, MARGIN, STYLE, body
from .text import amount, call, number, ref, summary

# The picture of everything at once is there for graphs of up to so many nodes.
WHOLE = 1500


def page(graph: Graph, title: str | None = None) -> str:
    """The text of the page."""
    regions = Regions(graph)
    title = title or "graph"
    everything = regions.whole.regions()
    number_of = {region: k for k, region in enumerate(everything)}
    results = {node for node, _ in graph.results}
    views = []
    for region in everything:
        made = view(graph, regions, region, _texts)
        views.append(
            {
                "path": region.path,
                "name": region.path.rpartition(".")[2] or title,
                "parent": None if region.parent is None else number_of[region.parent],
                "inside": {k: number_of[inner] for k, inner in _closed(made)},
                **_picture(made, results | set(region.leaves)),
            }
        )
    whole = _picture(view(graph, regions, None, _texts), results) if len(graph.nodes) <= WHOLE else None
    data = {
        "summary": summary(graph),
        "views": views,
        "whole": whole,
        "nodes": {
            node.id: {
                **_told(node),
                "readers": [reader.id for reader in graph.consumers(node)],
                "view": number_of[regions.home[node]],
            }
            for node in (*graph.nodes, *graph.constants)
        },
        "results": [node.id for node, _ in graph.results],
    }
    files = resources.files("livegrad.graph")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}\n{files.joinpath('page.css').read_text('utf-8')}</style>",
            '<header><nav id="trail" aria-label="modules"></nav><button id="whole">everything</button>',
            '<button id="turn" aria-pressed="false">arrows with the data</button>',
            '<input id="search" type="search" placeholder="operator, name, file.py:12 or line  ( / )" '
            'aria-label="search"><output id="found"></output></header>',
            f'<main><svg id="picture" class="backward" tabindex="0">{ARROW}<g id="scene"></g></svg>',
            '<aside id="told" aria-live="polite"></aside></main>',
            f'<script type="application/json" id="graph">{_embedded(data)}</script>',
            f"<script>\n{files.joinpath('page.js').read_text('utf-8')}</script>",
            "</html>",
        ]
    )


def show(text: str) -> str:
    """Open a page in the browser; the path of the file that it is in."""
    with tempfile.NamedTemporaryFile("w", suffix=".html", prefix="livegrad-", delete=False, encoding="utf-8") as file:
        file.write(text)
    webbrowser.open(Path(file.name).as_uri())
    return file.name


def _embedded(data: dict) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _texts(what: Node | Region) -> tuple[str, ...]:
    if isinstance(what, Node):
        return tuple(box_lines(what, False))
    nodes = list(what.nodes())
    ops = sum(node.kind in ("op", "module") for node in nodes)
    flops = sum(node.flops or 0 for node in nodes)
    return (
        what.path.rpartition(".")[2],
        f"{ops:,} operator{'s' * (ops != 1)}",
        *([amount(flops, "FLOP")] if flops else []),
    )


def _closed(made: Scene) -> list[tuple[str, Region]]:
    return [(box.what.path, box.what) for box in made.boxes if isinstance(box.what, Region)]


def _picture(made: Scene, results: set) -> dict:
    return {
        "width": round(made.width + 2 * MARGIN),
        "height": round(made.height + 2 * MARGIN),
        "svg": "".join(body(made, results)),
    }


def _told(node: Node) -> dict:
    """What the page says of a node."""
    site = node.site
    told = {
        "kind": node.kind,
        "title": f"{ref(node)} = {call(node)}" if node.kind == "op" else node.label or node.op,
        "op": node.op,
        "name": node.name,
        "label": node.label,
        "module": node.module,
        "shape": list(node.shape),
        "dtype": node.dtype,
        "device": node.device,
        "bytes": amount(node.bytes, "B"),
        "inputs": [item.id if isinstance(item, Node) else number(item) for item in node.inputs],
        "operands": [isinstance(item, Node) for item in node.inputs],
    }
    if node.flops:
        told["flops"] = amount(node.flops, "FLOP")
    if node.kept:
        told["kept"] = [
            f"{name}: {'×'.join(map(str, shape)) or 'a number'} {dtype}, {amount(size, 'B')}"
            for name, shape, dtype, size in node.kept
        ]
    if site is not None:
        told.update(file=site.filename, line=site.lineno, function=site.function, where=node.where)
        told["source"] = (site.line or "").strip()
    return told
