"""Layers, regions, the picture and the page."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from graph_fakes import Parameter, article, blocks, leaf, op
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad.graph import graph, layers, page
from livegrad.graph.dot import box_lines
from livegrad.graph.layers import Item, Line, _inversions, arrange
from livegrad.graph.regions import Region, Regions
from livegrad.graph.scene import scene, view


def text(what):
    return (what.path,) if isinstance(what, Region) else tuple(box_lines(what, False))


@st.composite
def drawings(draw):
    count = draw(st.integers(1, 14))
    sizes = [(draw(st.integers(0, 60)), draw(st.integers(0, 40))) for _ in range(count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda p: p[0] < p[1])
    edges = draw(st.lists(pairs, unique=True, max_size=3 * count)) if count > 1 else []
    return [Item(*size) for size in sizes], [Line(a, b, sizes[a][0] / 2, sizes[b][0] / 2) for a, b in edges]


@settings(max_examples=150, deadline=None)
@given(drawings())
def test_items_keep_apart_and_lines_lead_down(drawing):
    items, lines = drawing
    picture = arrange(items, lines, gap=5, row_gap=7)
    for k, a in enumerate(items):
        assert a.x >= 0 and a.x + a.width <= picture.width + 1e-6 and a.y + a.height <= picture.height + 1e-6
        for b in items[:k]:
            if a.rank == b.rank:
                left, right = sorted((a, b), key=lambda item: (item.x, item.x + item.width))
                assert left.x + left.width + 5 <= right.x + 1e-6
    trunks = [p for points, joined in zip(picture.paths, picture.joined) if not joined for p in points]
    for line, points, joined in zip(lines, picture.paths, picture.joined):
        start, end = items[line.start], items[line.end]
        assert start.rank < end.rank
        assert points[0] == (start.x + line.start_at, start.y + start.height)
        assert points[-1] in trunks if joined else points[-1] == (end.x + line.end_at, end.y)
        heights = [y for _, y in points]
        assert heights == sorted(heights)


def test_lines_lead_to_later_items():
    with pytest.raises(ValueError, match="from 1 to 0"):
        arrange([Item(1, 1), Item(1, 1)], [Line(1, 0, 0, 0)], gap=1, row_gap=1)


def test_layers_are_ordered_without_crossings_where_that_is_possible():
    items = [Item(10, 10) for _ in range(6)]
    picture = arrange(items, [Line(0, 5, 5, 5), Line(1, 4, 5, 5), Line(2, 3, 5, 5)], gap=5, row_gap=5)
    assert all(points[0][0] == points[-1][0] for points in picture.paths)  # so all lines are straight


@given(st.lists(st.integers(0, 9), max_size=30))
def test_inversions(values):
    assert _inversions(list(values)) == sum(a > b for k, a in enumerate(values) for b in values[k:])


def test_regions_are_calls_of_modules():
    regions = Regions(graph(blocks(2)))
    assert [r.path for r in regions.whole.regions()] == [
        "", "blocks", "blocks.0", "blocks.1", "blocks.0.linear", "blocks.0.act", "blocks.1.linear", "blocks.1.act",
    ]  # fmt: skip
    first = regions.whole.regions()[2]
    assert [n.op for n in first.nodes()] == ["leaf", "leaf", "addmm", "relu", "constant", "mul", "add"]
    assert [n.op for n in first.leaves] == ["add"] and [n.op for n in first.enters] == ["leaf"]


def test_a_module_that_runs_twice_with_something_between_is_two_regions():
    h = op("relu", leaf(2), module="act")
    h = op("relu", op("mul", h, 2, module="other"), module="act")
    assert [r.path for r in Regions(graph(h)).whole.regions()] == ["", "act", "other", "act"]


def inside(box, frame):
    return (
        frame.x <= box.x and frame.y <= box.y
        and box.x + box.width <= frame.x + frame.width + 1e-6 and box.y + box.height <= frame.y + frame.height + 1e-6
    )  # fmt: skip


@pytest.mark.parametrize("modules", [True, False])
def test_every_node_has_a_box_and_lies_in_the_frames_of_its_modules(modules):
    g = graph(blocks(3))
    made = scene(g, text, modules)
    assert {box.what for box in made.boxes} == {*g.nodes, *g.constants}
    for k, a in enumerate(made.boxes):
        for b in made.boxes[:k]:
            apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
            assert apart
    assert len(made.frames) == (10 if modules else 0)
    regions = Regions(g)
    for box in made.boxes:
        paths = {r.path for r in regions.home[box.what].chain()}
        for frame in made.frames:
            assert inside(box, frame) == (frame.region.path in paths)


def test_lines_join_the_boxes():
    """Following the lines from box to box, over the borders of modules, gives the edges of the graph."""
    g = graph(blocks(3))
    made = scene(g, text)
    tops = {(round(b.x + b.width / 2, 3), round(b.y, 3)): b.what for b in made.boxes}
    bottoms = {(round(b.x + b.width / 2, 3), round(b.y + b.height, 3)): b.what for b in made.boxes}
    starts = {}
    for path in made.paths:
        points = [(round(x, 3), round(y, 3)) for x, y in path.points]
        assert path.starts == (points[0] in bottoms) and path.ends == (points[-1] in tops)
        for here, there in zip(points, points[1:]):  # others may join it at each of its points
            starts.setdefault(here, []).append(there)
    found = set()
    for place, consumer in bottoms.items():
        todo = list(starts.get(place, ()))
        for at in todo:
            if at in tops:
                found.add((consumer, tops[at]))
            else:
                todo += starts[at]
    assert found == {(e.consumer, e.producer) for e in g.edges}


def test_one_region_alone_shows_what_enters_it():
    g = graph(blocks(2))
    regions = Regions(g)
    second = next(r for r in regions.whole.regions() if r.path == "blocks.1")
    made = view(g, regions, second, text)
    shown = [b.what.path if isinstance(b.what, Region) else b.what.op for b in made.boxes]
    assert sorted(shown) == ["add", "add", "blocks.1.act", "blocks.1.linear", "constant", "mul"] and not made.frames


@pytest.mark.parametrize("options", [{}, {"source": True}, {"fold": True}, {"direction": "forward", "clusters": False}])
def test_svg(options):
    g = graph(blocks(3), params={'odd "name"\\ <&>': Parameter(1)})
    root = ET.fromstring(g.svg(**options))
    drawn = [e for e in root.iter() if e.get("data-node")]
    shown = g.fold() if options.get("fold") else g
    assert sorted(int(e.get("data-node")) for e in drawn) == list(range(len(shown) + len(shown.constants)))
    heads = {name for e in root.iter() for name in e.attrib if name.startswith("marker-")}
    assert heads == {"marker-start" if options.get("direction") == "forward" else "marker-end"}
    with pytest.raises(ValueError, match="direction"):
        g.svg(direction="up")


def test_svg_of_the_article():
    x, a, b, c, y = article()
    picture = ET.fromstring(graph(y)._repr_svg_())
    words = [e.text for e in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert [w for w in words if " = " in w or w == "x"] == ["y = mean", "c = add(3)", "b = mul", "a = add(2)", "x"]


def test_long_chains_need_no_recursion_and_lines_to_one_place_join():
    x = y = leaf(2)
    for _ in range(2000):
        y = op("mul", y, x, module="a.b")
    made = scene(graph(y), text)
    assert len(made.boxes) == 2001
    assert sum(len(path.points) for path in made.paths) < 10 * 2000


def test_too_many_bends_are_left_out(monkeypatch):
    monkeypatch.setattr(layers, "BENDS", 50)
    y, made = leaf(2), []
    for _ in range(40):
        made.append(y)
        y = op("sin", y)
    for value in made:
        y = op("add", y, value)
    g = graph(y)
    drawn = scene(g, text)
    assert len(drawn.paths) == len({(e.consumer, e.producer) for e in g.edges})
    assert sum(len(path.points) for path in drawn.paths) < 6 * len(drawn.paths)


class Scripts(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.inside = tag

    def handle_data(self, data):
        if getattr(self, "inside", "") == "script" and data.strip():
            self.found.append(data)


def test_page(tmp_path):
    model = livegrad.nn.Sequential(livegrad.nn.Linear(2, 4), livegrad.nn.Sequential(livegrad.nn.Tanh()))
    y = model(livegrad.ones(3, 2)).sum()  # </script> in a line stays text
    g = livegrad.graph(y, params=model)
    g.save(tmp_path / "g.html", title="<model>")
    found = (tmp_path / "g.html").read_text()
    assert "<title>&lt;model&gt;</title>" in found and "http" not in re.sub(r"http://www.w3.org/2000/svg", "", found)
    data, script = Scripts(found).found
    data = json.loads(data)
    assert [v["path"] for v in data["views"]] == ["", "0", "1", "1.0"] and data["views"][3]["parent"] == 2
    assert data["whole"]["svg"].count("data-node") == len(g) + len(g.constants)
    told = data["nodes"][str(g.find(op="tanh")[0].id)]
    assert told["where"].startswith(Path(__file__).name) and "</script>" in told["source"] and told["view"] == 3
    for node in g:
        views = [v for v in data["views"] if f'data-node="{node.id}"' in v["svg"]]
        assert data["views"][data["nodes"][str(node.id)]["view"]] in views
    if shutil.which("node"):
        (tmp_path / "page.js").write_text(script)
        subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=True)


def test_show_opens_the_browser(monkeypatch):
    opened = []
    monkeypatch.setattr(page.webbrowser, "open", opened.append)
    path = Path(livegrad.graph(livegrad.ones(2, requires_grad=True).sum()).show())
    assert opened == [path.as_uri()] and path.read_text().startswith("<!doctype html>")
    path.unlink()
