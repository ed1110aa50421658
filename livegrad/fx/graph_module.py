"""GraphModule: a module whose forward is a graph."""

from __future__ import annotations

import copy
import linecache
import textwrap
from typing import Any

from livegrad.nn.module import Module
from livegrad.nn.parameter import Parameter
from livegrad.tensor import Tensor

from .graph import Graph

__all__ = ["GraphModule"]

_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"


def _copy_attr(source: Any, target: Any, path: str) -> None:
    """Give a module the attribute that another has at a path, with the modules on the way."""
    *way, last = path.split(".")
    for atom in way:
        inside = getattr(source, atom, None)
        if inside is None:
            return
        if not hasattr(target, atom):
            setattr(target, atom, Module())
        source, target = inside, getattr(target, atom)
    value = getattr(source, last, None)
    if value is None or hasattr(target, last):
        return
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        target.register_buffer(last, value)
    else:
        setattr(target, last, value)


class GraphModule(Module):
    """A module that does what a graph says, with the modules and parameters of `root` that it names.

    root: a module, or a dictionary from paths to what is there. `code` is the Python that runs; after a change of the
    graph, `recompile` makes it anew.
    """

    _count = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # A class of its own for each, since each has its own forward.
        own = type(cls.__name__, (cls,), {"__module__": cls.__module__, "_of": cls})
        return object.__new__(own)

    def __init__(self, root: Any, graph: Graph, class_name: str = "GraphModule"):
        super().__init__()
        type(self).__name__ = class_name
        if isinstance(root, Module):
            self.training = root.training
        for node in graph.nodes:
            if node.op not in ("get_attr", "call_module"):
                continue
            if isinstance(root, Module):
                _copy_attr(root, self, node.target)
            elif node.target in root:
                place: Any = self
                *way, last = node.target.split(".")
                for atom in way:
                    if not hasattr(place, atom):
                        setattr(place, atom, Module())
                    place = getattr(place, atom)
                setattr(place, last, root[node.target])
            else:
                raise RuntimeError(
                    f"Node {node} referenced target {node.target} but that target was not provided in root"
                )
        self.meta: dict = {}
        self.graph = graph

    @property
    def graph(self) -> Graph:
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        self.__dict__["_graph"] = g
        g.owning_module = self
        self.recompile()

    def recompile(self) -> None:
        """Make the code that runs of the graph as it is now."""
        self.__dict__["_code"], names = self._graph.code()
        GraphModule._count += 1
        file = f"<eval_with_key>.{GraphModule._count}"
        # In linecache, so that a traceback shows the line.
        linecache.cache[file] = (len(self._code), None, self._code.splitlines(keepends=True), file)
        exec(compile(self._code, file, "exec"), names)  # noqa: S102  made above
        type(self).forward = names["forward"]  # type: ignore[method-assign]

    @property
    def code(self) -> str:
        return self._code

    def print_readable(self, print_output: bool = True, **options: Any) -> str:
        """The code, as the method of a class; printed unless told otherwise."""
        text = f"class {type(self).__name__}(torch.nn.Module):\n" + textwrap.indent(self._code.strip(), "    ") + "\n"
        if print_output:
            print(text)
        return text

    def add_submodule(self, target: str, m: Module) -> bool:
        """Put a module at a path; False where something else is in the way."""
        *way, last = target.split(".")
        place: Any = self
        for atom in way:
            if not hasattr(place, atom):
                setattr(place, atom, Module())
            place = getattr(place, atom)
            if not isinstance(place, Module):
                return False
        place.add_module(last, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Take the module at a path away; False where there is none."""
        *way, last = target.split(".")
        place: Any = self
        for atom in way:
            place = getattr(place, atom, None)
        if place is None or not isinstance(getattr(place, last, None), Module):
            return False
        delattr(place, last)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Take away the modules that no node names."""
        used = {n.target for n in self._graph.nodes if n.op in ("call_module", "get_attr")}
        for name, _ in reversed(list(self.named_modules())):
            if name and not any(u == name or u.startswith(name + ".") or name.startswith(u + ".") for u in used):
                self.delete_submodule(name)

    def __deepcopy__(self, memo: Any) -> Any:
        made = type(self)._of(Module(), Graph(), type(self).__name__)  # type: ignore[attr-defined]
        memo[id(self)] = made
        state = {name: value for name, value in self.__dict__.items() if name not in ("_graph", "_code")}
        made.__setstate__(copy.deepcopy(state, memo))
        made.graph = copy.deepcopy(self._graph, memo)
        return made

    def __str__(self) -> str:
        return (
            f"{super().__repr__()}\n{self._code}\n# To see more debug info, please use `graph_module.print_readable()`"
        )
