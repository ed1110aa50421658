"""DOT, folding and saving."""

import re
import shutil
import subprocess

import pytest
from graph_fakes import Parameter, article, blocks, op

from livegrad.graph import graph
from livegrad.graph.dot import quote

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
QUOTED = r'"(?:[^"\\]|\\.)*"'


def test_arrows_lead_from_result_to_input():
    x, a, b, c, y = article()
    g = graph(y)
    assert re.findall(r"n(\d) -> n(\d)", g.dot()) == [("1", "0"), ("2", "1"), ("2", "1"), ("3", "2"), ("4", "3")]
    assert re.findall(r"n(\d) -> n(\d)", g.dot(direction="forward"))[0] == ("0", "1")
    assert 'n1 [label="a = add(2)\\nAddBackward0\\n(3,) float32\\napp.py:11"' in g.dot()
    with pytest.raises(ValueError, match="direction"):
        g.dot(direction="up")


def test_colours_tell_leaves_operators_and_results():
    x, a, b, c, y = article()
    colours = re.findall(r'n\d \[.*fillcolor="(#\w+)"', graph(y).dot())
    assert len(set(colours)) == 3 and colours[1] == colours[2] == colours[3]


def test_text_is_escaped():
    assert quote('a "b" \\N & <c>\n\0d') == '"a \\"b\\" \\\\N &amp; <c>\\nd"'
    dot = graph(blocks(2)).dot(source=True)
    rest = re.sub(QUOTED, "", dot)
    assert '"' not in rest and "app.py" not in rest  # every text is inside a well-formed quotation


def test_modules_are_clusters_inside_clusters():
    y = blocks(2)
    lines = graph(y).dot().splitlines()
    opened = [re.search(QUOTED, line).group() for line in lines if "subgraph" in line]
    paths = ["", ".0", ".0.linear", ".0.act", ".1", ".1.linear", ".1.act"]
    assert opened == [f'"cluster_blocks{path}"' for path in paths]
    text = re.sub(QUOTED, "", "\n".join(lines))
    assert text.count("{") == text.count("}") == 8
    assert "subgraph" not in graph(y).dot(clusters=False)


@needs_dot
@pytest.mark.parametrize("options", [{}, {"source": True}, {"fold": True}, {"direction": "forward", "clusters": False}])
def test_graphviz_accepts_it(options):
    g = graph(blocks(3), params={'odd "name"\\': Parameter(1)})
    done = subprocess.run(["dot", "-Tplain"], input=g.dot(**options).encode(), capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stderr == b""
    shown = g.fold() if options.get("fold") else g
    assert done.stdout.decode().count("\nnode ") == len(shown) + len(shown.constants)


def test_save(tmp_path):
    g = graph(blocks(2))
    assert g.save(tmp_path / "g.dot", fold=True) == str(tmp_path / "g.dot")
    assert (tmp_path / "g.dot").read_text() == g.dot(fold=True) + "\n"
    g.save(str(tmp_path / "g.txt"))
    assert (tmp_path / "g.txt").read_text() == g.text() + "\n"
    with pytest.raises(ValueError, match=r"cannot save a graph as '\.pdf'"):
        g.save("g.pdf")


def test_repeated_modules_fold():
    y = blocks(12)
    g = graph(y)
    folded = g.fold()
    runs = [node for node in folded if node.kind == "module"]
    assert [(node.op, node.module) for node in runs] == [("blocks.1 ... blocks.11 (11 x blocks.0)", "blocks")]
    assert len(runs[0].folded) == 66
    assert [item.op for item in runs[0].inputs] == ["add"]
    assert [node.op for node in folded] == ["leaf", "leaf", "leaf", "addmm", "relu", "mul", "add", runs[0].op, "sum"]
    assert [node.id for node in folded] == list(range(9))
    assert len(folded.constants) == 1
    assert folded.totals == {**g.totals, "nodes": 9}
    assert len(g) == 12 * 6 + 2 and "blocks.1 ..." in g.draw(fold=True)


def test_a_run_ends_where_something_else_runs():
    y = blocks(6, between=2)
    assert [node.op for node in graph(y).fold() if node.kind == "module"] == [
        "blocks.1 (1 x blocks.0)", "blocks.2 (1 x blocks.0)", "blocks.3 (1 x blocks.0)",
        "blocks.4 (1 x blocks.0)", "blocks.5 (1 x blocks.0)",
    ]  # fmt: skip


def test_modules_that_differ_do_not_fold():
    h = op("add", Parameter(4), 1)
    for index, width in enumerate((4, 5, 4)):
        h = op("expand", op("mul", h, 2, module=f"layers.{index}"), shape=(width,), module=f"layers.{index}")
    assert [node.op for node in graph(h).fold() if node.kind == "module"] == []
    assert len(graph(h).fold()) == len(graph(h))
