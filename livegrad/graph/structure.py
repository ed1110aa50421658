"""The graph object: nodes, edges, queries and totals. How nodes are read from a tensor is in ``view``."""

import os
from functools import cached_property
from typing import NamedTuple

from .flops import flops
from .operators import check_known, every_name


class Node:
    """One step of the recorded graph.

    ==============  ====================================================================================
    ``id``          its place in the order of execution; ``graph[id]`` is the node
    ``kind``        ``"op"``, ``"leaf"``, ``"input"``, ``"constant"``, or ``"module"`` (folded ones)
    ``op``          the forward operator, as ``"mean"``, by the name of the function that was called
    ``name``        the backward node, as ``"MeanBackward0"``
    ``label``       the name of the variable or parameter that holds the value, or None
    ``site``        where it was made: ``.filename``, ``.lineno``, ``.function``, ``.line``; or None
    ``module``      dotted path of the module that was running, or ``""``
    ``inputs``      one entry per operand: a Node, or a Python number
    ``shape``, ``dtype``, ``device``, ``numel``, ``bytes``: of its value (``dtype`` is a name, as ``"float32"``)
    ``flops``       arithmetic operations of the forward step, None where there is no formula
    ``kept``        ``((name, shape, dtype, bytes), ...)`` of what is kept for backward; ``kept_bytes`` is the sum
    ``freed``       whether a backward pass has freed what was kept
    ``grad_fn``     the recorded node itself, None for a constant
    ==============  ====================================================================================
    """

    __slots__ = (
        "id", "kind", "op", "name", "label", "module", "shape", "dtype", "device", "inputs", "outputs", "grad_fn",
        "requires_grad", "folded",
    )  # fmt: skip

    def __init__(self, kind, op, name, shape, dtype, device, grad_fn=None, module="", requires_grad=True):
        self.id = -1
        self.kind, self.op, self.name, self.module = kind, op, name, module
        self.shape, self.dtype, self.device = shape, dtype, device
        self.grad_fn, self.requires_grad = grad_fn, requires_grad
        self.label = None
        self.inputs = ()
        self.outputs = ()  # for each operand, which output of the operand it is
        self.folded = ()  # for kind "module": the nodes it stands for

    @property
    def op_names(self):
        """Every name of the operator: ``op``, the one that its backward node tells, and the one it has inside."""
        if self.kind != "op":
            return {self.op}
        return {self.op, *every_name(self.grad_fn.op_name, self.name, len(self.shape))}

    @property
    def site(self):
        return self.grad_fn.site() if self.kind == "op" and self.grad_fn is not None else None

    @property
    def where(self):
        """``"file.py:12"``, or ``""``."""
        site = self.site
        return f"{os.path.basename(site.filename)}:{site.lineno}" if site is not None else ""

    @property
    def numel(self):
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self):
        return self.numel * itemsize(self.dtype)

    @property
    def flops(self):
        if self.kind == "module":
            return sum(node.flops or 0 for node in self.folded)
        return flops(self) if self.kind == "op" else 0

    @property
    def kept(self):
        return tuple(self.grad_fn.kept()) if self.kind == "op" and self.grad_fn is not None else ()

    @property
    def kept_bytes(self):
        if self.kind == "module":
            return sum(node.kept_bytes for node in self.folded)
        return sum(entry[3] for entry in self.kept)

    @property
    def freed(self):
        """Whether a backward pass has gone through here and has freed what was kept."""
        return bool(getattr(self.grad_fn, "released", False))

    @property
    def next_functions(self):
        """The recorded ``next_functions``: ``((node or None, output), ...)``, as in PyTorch."""
        return tuple(self.grad_fn.next_functions) if self.grad_fn is not None else ()

    @property
    def producers(self):
        """The nodes among ``inputs``, each once, in order."""
        return list(dict.fromkeys(item for item in self.inputs if isinstance(item, Node)))

    def __repr__(self):
        from .text import line

        return f"<{line(self)}>"


class Edge(NamedTuple):
    """``consumer`` reads output number ``output`` of ``producer`` as its operand number ``position``."""

    producer: Node
    consumer: Node
    position: int
    output: int = 0


class Graph:
    """What ran, as nodes in the order of execution. Made by :func:`livegrad.graph`.

    ``len(g)`` counts the recorded nodes (operators, leaves and inputs), iterating visits them in the order of
    execution, ``g[3]`` is node 3, and ``str(g)`` is the listing. Tensors that need no gradient are ``g.constants``.
    """

    def __init__(self, nodes, constants, results):
        self.nodes = nodes
        self.constants = constants
        self.results = results  # [(node, output), ...] of the tensors that were asked for
        self._by_id = {node.id: node for node in nodes}
        self._by_id.update((node.id, node) for node in constants)

    # -- reading ------------------------------------------------------------------------------------------------------

    def __len__(self):
        return len(self.nodes)

    def __iter__(self):
        return iter(self.nodes)

    def __getitem__(self, id):
        return self._by_id[id]

    def __contains__(self, node):
        return isinstance(node, Node) and self._by_id.get(node.id) is node

    @property
    def ops(self):
        return [node for node in self.nodes if node.kind == "op"]

    @property
    def leaves(self):
        return [node for node in self.nodes if node.kind == "leaf"]

    @property
    def inputs(self):
        return [node for node in self.nodes if node.kind == "input"]

    @property
    def scalars(self):
        """``[(consumer, position, number), ...]``: the Python numbers among the operands."""
        return [
            (node, position, item)
            for node in self.nodes
            for position, item in enumerate(node.inputs)
            if not isinstance(item, Node)
        ]

    @property
    def edges(self):
        """Data flow, from producer to consumer, in the order of execution."""
        return [
            Edge(item, node, position, node.outputs[position])
            for node in self.nodes
            for position, item in enumerate(node.inputs)
            if isinstance(item, Node)
        ]

    @property
    def backward(self):
        """The nodes in the order in which backward visits them: ``name`` and ``next_functions`` tell the graph."""
        return self.nodes[::-1]

    @cached_property
    def readers(self):
        """For each node that is read, the nodes that read it, in the order of execution."""
        readers = {}
        for node in self.nodes:
            for item in node.producers:
                readers.setdefault(item, []).append(node)
        return readers

    def consumers(self, node):
        """The nodes that read ``node``."""
        return list(self.readers.get(node, ()))

    def find(self, op=None, name=None, line=None, module=None):
        """The nodes that match everything given, in the order of execution.

        ``op`` is the forward operator, by any of its names (a product is found as ``"matmul"`` and as ``"mm"``); what
        is no operator's name is a ValueError. ``name`` is the backward node, variable or parameter; ``line`` a line
        number, or ``"file.py:12"``, or a piece of the source line; ``module`` a path, which covers the modules inside.

            g.find(op="mul")
            g.find(line="train.py:12")
            g.find(module="layers.0")
        """
        if op is not None:
            op = op.rstrip("_")
        found = [
            node
            for node in self.nodes
            if (op is None or op in node.op_names)
            and (name is None or name in (node.name, node.label))
            and (module is None or node.module == module or node.module.startswith(module + "."))
            and (line is None or _on_line(node, line))
        ]
        if not found and op is not None and not any(op in node.op_names for node in self.nodes):
            check_known(op, {node.op for node in self.nodes})
        return found

    @cached_property
    def totals(self):
        """Counts and sums: a dict.

        ``bytes`` adds up the values of all operators, though few are in memory at once; ``kept_bytes`` what is kept for
        backward, a value as often as it is kept; ``freed`` counts the operators of which nothing is kept any more, as
        backward has been there; ``flops`` the operators that have a formula, ``uncounted`` how many have none.
        """
        every = [part for node in self.nodes for part in node.folded or (node,)]
        ops = [node for node in every if node.kind == "op"]
        leaves = [node for node in every if node.kind == "leaf"]
        flops = [node.flops for node in ops]
        return {
            "nodes": len(self.nodes),
            "ops": len(ops),
            "leaves": len(leaves),
            "leaf_bytes": sum(node.bytes for node in leaves),
            "bytes": sum(node.bytes for node in ops),
            "kept_bytes": sum(node.kept_bytes for node in ops),
            "freed": sum(node.freed for node in ops),
            "flops": sum(count for count in flops if count is not None),
            "uncounted": flops.count(None),
        }

    # -- showing ------------------------------------------------------------------------------------------------------

    def text(self, direction="forward", max_nodes=None, source=False):
        """One line a node, in the order of execution: ``%a = add(%x, 2)  (3,) float32  file.py:12``.

        ``direction="backward"`` lists the backward graph instead, from the result, by the names of its nodes. With
        ``source``, the text of the line that made each node stands at the end. ``max_nodes`` leaves out the middle.
        """
        from .text import listing

        return listing(self, direction, max_nodes, source)

    def __str__(self):
        return self.text(max_nodes=1000)

    def __repr__(self):
        from .text import counts

        return f"<Graph: {counts({'ops': len(self.ops), 'leaves': len(self.leaves)})}>"

    def draw(self, max_nodes=200, fold=False):
        """A drawing for the terminal: the result on top, each value once, arrows from result to input."""
        from .draw import draw

        return draw(self.fold() if fold else self, max_nodes)

    def tree(self, max_nodes=200, fold=False):
        """As :meth:`draw`, but indented as a tree: a value used again is shown once, then referred to."""
        from .tree import tree

        return tree(self.fold() if fold else self, max_nodes)

    def dot(self, direction="backward", fold=False, clusters=True, source=False):
        """The graph in Graphviz' DOT language.

        Arrows go from result to input (``direction="backward"``), or from input to result (``"forward"``). ``clusters``
        draws a frame around the operators of each module, ``fold`` shows repeated modules once, ``source`` adds the
        text of the line that made each node.
        """
        from .dot import dot

        return dot(self.fold() if fold else self, direction, clusters, source)

    def svg(self, direction="backward", fold=False, clusters=True, source=False):
        """A picture of the graph, as the text of an SVG document. The options are those of :meth:`dot`."""
        from .svg import svg

        return svg(self.fold() if fold else self, direction, clusters, source)

    def html(self, fold=False, title=None):
        """A page for a browser, as text: the graph by modules, to walk through, search and ask about each step.

        Everything is in the one file, so it can be kept and sent. A click on a module enters it; a click on a step
        tells its line, shape, operands, readers, arithmetic and what it keeps for backward. Arrows lead from result to
        input, or the other way.
        """
        from .page import page

        return page(self.fold() if fold else self, title)

    def show(self, **options):
        """Opens :meth:`html` in the browser. Returns the path of the file, which lies among the temporary ones."""
        from .page import show

        return show(self.html(**options))

    def _repr_svg_(self):
        """What a notebook shows: the picture, of the folded graph where there is much."""
        return self.svg(fold=len(self.nodes) > 150)

    def save(self, path, **options):
        """Writes the graph to ``path``, in the form its suffix names.

        ``.html`` is the page for a browser, ``.svg`` the picture, ``.dot`` (or ``.gv``) Graphviz' language, and
        ``.txt`` the listing.
        """
        path = os.fspath(path)
        suffix = os.path.splitext(path)[1].lower()
        forms = {".html": self.html, ".svg": self.svg, ".dot": self.dot, ".gv": self.dot, ".txt": self.text}
        if suffix not in forms:
            raise ValueError(f"cannot save a graph as {suffix or path!r}: the suffix must be one of {', '.join(forms)}")
        content = forms[suffix](**options)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if content.endswith("\n") else content + "\n")
        return path

    def fold(self):
        """The graph with repeated modules shown once: the others of the same structure become one node each run.

        In a model of twelve equal blocks, ``blocks.0`` stays as it is and ``blocks.1`` to ``blocks.11`` are one node.
        """
        from .fold import fold

        return fold(self)


def _on_line(node, line):
    site = node.site
    if site is None:
        return False
    if isinstance(line, int):
        return site.lineno == line
    return line in (node.where, f"{site.filename}:{site.lineno}") or (":" not in line and line in (site.line or ""))


_SIZES = {"bool": 1, "bfloat16": 2, "half": 2, "float": 4, "double": 8}


def itemsize(dtype):
    """Bytes of one element, from the dtype's name: the digits in ``"float32"`` say it."""
    if dtype in _SIZES:
        return _SIZES[dtype]
    digits = "".join(c for c in dtype.partition("_")[0] if c.isdigit())
    return max(int(digits) // 8, 1) if digits else 0
