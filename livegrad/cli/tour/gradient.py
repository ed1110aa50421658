"""The first steps: record four operators, see the graph, differentiate. They are written down as a program."""

from __future__ import annotations

import ast
import linecache
from pathlib import Path
from typing import Any

from ..console import Console

PROGRAM = """\
import livegrad

x = livegrad.arange(1, 4, dtype=livegrad.float32, requires_grad=True)
print(x)
a = x + 2
print(a)
b = a ** 2
print(b)
c = b + 3
print(c)
y = c.mean()
print(y)

graph = livegrad.graph(y)
print(graph.draw())

y.backward()
print(x.grad)
"""


def run(shown: Console, out: Path) -> list[tuple[Path, str]]:
    """Write the program, run it statement by statement, and return the files written."""
    path = out / "first_gradient.py"
    path.write_text(PROGRAM, encoding="utf-8")
    linecache.checkcache(str(path))
    parts = _parts(PROGRAM)
    names: dict[str, Any] = {"__name__": "__tour__", "print": lambda value: shown.show(str(value))}

    shown.step("Operators record a graph")
    shown.say("Each result knows how it was made: that is its grad_fn. Nothing but this bookkeeping has happened "
              "until a value is printed.")  # fmt: skip
    _play(shown, parts[0], path, names)

    shown.step("The graph can be seen")
    shown.say("The result is on top, and the arrows lead from results to inputs: the way that gradients take. Every "
              "operator knows the line that made it.")  # fmt: skip
    _play(shown, parts[1], path, names)
    files = [(path, "these first steps, as a program")]
    files.append((Path(names["graph"].save(out / "graph.html")), "their graph, as a page for the browser"))
    from livegrad.utils.tensorboard import SummaryWriter

    folder = out / "runs" / "first_gradient"
    shown.code(f"SummaryWriter({folder.as_posix()!r}).add_graph(y)")
    with SummaryWriter(folder) as writer:
        writer.add_graph(names["graph"])
    files.append((folder, "their graph, for TensorBoard"))

    shown.step("Gradients")
    shown.say("backward() walks that graph. y is the mean of (x + 2)² + 3, so its gradient is 2 (x + 2) / 3.")
    _play(shown, parts[2], path, names)
    return files


def _parts(program: str) -> list[list[ast.stmt]]:
    """The statements of the program: up to the graph, the graph, and the rest."""
    statements = ast.parse(program).body
    texts = [ast.unparse(s) for s in statements]
    graph = next(i for i, text in enumerate(texts) if text.startswith("graph ="))
    backward = texts.index("y.backward()")
    return [statements[:graph], statements[graph:backward], statements[backward:]]


def _play(shown: Console, statements: list[ast.stmt], path: Path, names: dict[str, Any]) -> None:
    """Show and run statements; of a call of print only what it prints is shown."""
    for statement in statements:
        text = ast.get_source_segment(PROGRAM, statement) or ""
        if not text.startswith("print("):
            shown.code(text)
        exec(compile(ast.Module([statement], []), str(path.resolve()), "exec"), names)
