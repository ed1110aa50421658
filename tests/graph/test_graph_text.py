"""The listing, the drawing and the tree."""

import re

import pytest
from graph_fakes import article, blocks, leaf, op

import livegrad
from livegrad.graph import graph


def test_listing():
    x, a, b, c, y = article()
    g = graph(y)
    assert str(g).splitlines() == [
        "# 4 operators, 1 leaf (12 B), 12 FLOP forward, 24 B kept for backward",
        "%x = leaf()       (3,) float32",
        "%a = add(%x, 2)   (3,) float32  app.py:11",
        "%b = mul(%a, %a)  (3,) float32  app.py:12",
        "%c = add(%b, 3)   (3,) float32  app.py:13",
        "%y = mean(%c)     () float32    app.py:14",
        "return %y",
    ]
    assert repr(g[1]) == "<%a = add(%x, 2)  (3,) float32  app.py:11>"
    assert repr(g) == "<Graph: 4 operators, 1 leaf>"
    assert g.text(source=True).splitlines()[2].endswith('| add "\\n" & <11>')


def test_backward_listing():
    x, a, b, c, y = article()
    assert [line.split("  ")[0] for line in graph(y).text("backward").splitlines()[1:]] == [
        "MeanBackward0 %y -> AddBackward0 %c",
        "AddBackward0 %c -> MulBackward0 %b",
        "MulBackward0 %b -> AddBackward0 %a, AddBackward0 %a",
        "AddBackward0 %a -> AccumulateGrad %x",
        "AccumulateGrad %x",
    ]
    with pytest.raises(ValueError, match="direction"):
        graph(y).text("sideways")


def test_listing_leaves_out_the_middle():
    x, a, b, c, y = article()
    lines = graph(y).text(max_nodes=2).splitlines()
    assert [line[:2] for line in lines[1:]] == ["%x", "..", "%y", "re"]


def test_drawing_of_a_chain():
    x, a, b, c, y = article()
    assert graph(y).draw().splitlines() == [
        "●  y = mean(%c)  () float32  app.py:14",
        "▼",
        "●  c = add(%b, 3)  (3,) float32  app.py:13",
        "▼",
        "●  b = mul(%a, %a)  (3,) float32  app.py:12",
        "▼",
        "●  a = add(%x, 2)  (3,) float32  app.py:11",
        "▼",
        "■  x  (3,) float32",
        "  4 operators, 1 leaf (12 B), 12 FLOP forward, 24 B kept for backward",
    ]


def test_drawing_writes_values_without_a_name_as_the_listing_does():
    x = livegrad.ones(2, requires_grad=True)
    y = (x.exp() + 1).sum()
    assert [line.split(" = ")[0].split()[-1] for line in graph(y).draw().splitlines() if " = " in line] == [
        "y",
        "%2",
        "%1",
    ]


def test_drawing_shows_a_shared_value_once():
    y = blocks(2)
    lanes = [re.match(r"[^\w%]*", line[:9]).group().rstrip() for line in graph(y).draw().splitlines()]
    assert lanes[:16] == [
        "●",  # sum
        "▼",
        "●",  # the second block's addition reads the mask and the first block
        "├─╮",
        "▼ │",
        "● │",
        "▼ │",
        "● │",
        "▼ │",
        "● │",  # addmm reads bias, the first block (which has a lane already) and weight
        "├─┼─╮",
        "├─┼─┼─╮",
        "├─╯ │ │",
        "│   │ ▼",
        "│   │ ■",
        "│   ▼",
    ]
    drawing = graph(y).draw()
    assert drawing.count("relu") == 2 and sum(drawing.count(mark) for mark in "●■") == len(graph(y))


def test_drawing_of_two_readers_of_one_value():
    x = leaf(2)
    a = op("exp", x)
    b = op("sin", a)
    c = op("cos", a)
    y = op("add", b, c)
    drawing = graph(y).draw().splitlines()
    lanes = [line[:3].rstrip() for line in drawing[:10]]
    assert lanes == ["●", "├─╮", "▼ │", "● │", "│ ▼", "│ ●", "├─╯", "▼", "●", "▼"]


def test_drawing_of_a_node_with_many_inputs_stays_narrow():
    x = leaf(2)
    y = op("stack", *[op("mul", x, k) for k in range(100)], shape=(100, 2))
    lines = graph(y).draw().splitlines()
    assert max(map(len, lines)) < 160
    assert any("more inputs, below without a line" in line for line in lines)
    assert sum(line.count("●") for line in lines) == 101 and sum(line.count("■") for line in lines) == 1
    assert "... 88 more ..." in lines[0]


def test_tree():
    x = leaf(2)
    a = op("exp", x)
    y = op("add", op("sin", a), op("cos", a))
    assert [line.split("  (")[0] for line in graph(y).tree().splitlines()] == [
        "%y = add(%2, %3)",
        "├─▶ %2 = sin(%a)",
        "│   ▼ %a = exp(%x)",
        "│   ▼ %x",
        "▼ %3 = cos(%a)",
        "▼ %a",
    ]
    assert graph(y).tree().endswith("%a  (shown above)")
    assert graph(y).tree(max_nodes=2).endswith("3 more nodes")


def test_several_results():
    x, a, b, c, y = article()
    z = op("exp", a)
    for text in (graph(y, z).draw(), graph(y, z).tree()):
        assert text.count("= mean") == text.count("= exp") == text.count("= add(%x, 2)") == 1
