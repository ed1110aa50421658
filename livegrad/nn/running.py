"""Which modules are running, and the path of the innermost one."""

from __future__ import annotations

from ..native import hot
from ..site import set_module_path

# The modules whose forward is running, the outermost first: every node of the graph is told which one made it.
_stack: list = []
push = _stack.append
pop = _stack.pop
# Raised whenever a module that a path was looked for in gets or loses a child, as the paths that modules remember may
# have become wrong.
GENERATION = [0]


@hot
def module_path():
    """The dotted path of the running module inside the outermost one: ``"encoder.layers.0"``, ``""`` for the outermost.

    None while no module is running. A module does not know its own path; it remembers the last answer.
    """
    if not _stack:
        return None
    module, root = _stack[-1], _stack[0]
    if module is root:
        return ""
    known = module.__dict__.get("_path")
    if known is not None and known[0] == GENERATION[0] and known[1] is root.__dict__.get("_searched"):
        return known[2]
    path = ""
    for name, candidate in root.named_modules():
        candidate.__dict__.setdefault("_searched", _Searched())
        if candidate is module:
            path = name
            break
    module.__dict__["_path"] = (GENERATION[0], root.__dict__["_searched"], path)
    return path


class _Searched:
    """Held by a module in which a path was looked for: by the one where the search began, it tells of it."""


set_module_path(module_path, _stack)
