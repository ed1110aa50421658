"""``livegrad graph``: run a program as `livegrad run` does, and show the graph of something that it computed."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .problem import Problem
from .run import Program, check, run

# Options that name a file, and what it gets.
FORMS = ("html", "svg", "dot")


class _Seen:
    """What the running program had: tensors that backward() went from last, and the variables around them.

    variables: those of the frames that were running then, the innermost first. of: the variable to look for;
    found: what it was when the last function of the program that has it returned, and that function's variables.
    """

    def __init__(self, of: str | None):
        self.of = of
        self.roots: tuple = ()
        self.frames: list = []
        self.found: Any = None
        self.around: Any = None

    def backward(self, tensors: Any) -> None:
        from ..site import INTERNAL
        from ..tensor import Tensor

        self.roots = (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)
        self.frames = []
        frame: Any = sys._getframe(1)
        while frame is not None:
            if not INTERNAL[frame.f_code.co_filename]:
                self.frames.append(frame)
            frame = frame.f_back

    def called(self, frame: Any, event: str, arg: Any) -> Any:
        """The trace function: looks at functions that have such a variable, when they return."""
        if self.of not in frame.f_code.co_varnames and self.of not in frame.f_code.co_cellvars:
            return None
        frame.f_trace_lines = False
        return self.returned

    def returned(self, frame: Any, event: str, arg: Any) -> Any:
        from ..tensor import Tensor

        if event == "return":
            variables = frame.f_locals
            if isinstance(variables.get(self.of), Tensor):
                self.found, self.around = variables[self.of], variables
        return self.returned


@contextmanager
def _watched(of: str | None) -> Iterator[_Seen]:
    """Note what the program in this block does."""
    import livegrad

    seen = _Seen(of)
    tensor, functions = livegrad.Tensor, livegrad.autograd
    method, function = tensor.backward, functions.backward
    tensor.backward = _noting(method, seen)  # type: ignore[method-assign]
    functions.backward = _noting(function, seen)
    before = sys.gettrace()
    if of is not None:
        sys.settrace(seen.called)
    try:
        yield seen
    finally:
        if of is not None:
            sys.settrace(before)
        tensor.backward, functions.backward = method, function  # type: ignore[method-assign]


def _noting(function: Callable, seen: _Seen) -> Callable:
    @functools.wraps(function)
    def noting(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        seen.backward(tensors)
        return function(tensors, *args, **kwargs)

    return noting


def graph(program: Program, options: Any) -> int:
    """Run the program, then print or save the graph."""
    check(program)
    for form in FORMS:
        path = getattr(options, form)
        folder = os.path.dirname(path or "") or "."
        if path not in (None, "-") and not os.path.isdir(folder):
            raise Problem(f"there is no folder {folder} to write {path} to")
    status: Any = 0
    with _watched(options.of) as seen:
        try:
            status = run(program)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise
    from . import ours

    found = _chosen(seen, program)
    return ours(lambda: _shown(found, options)) or status


def _chosen(seen: _Seen, program: Program) -> Any:
    """The graph of what was asked for, or of what the program computed last."""
    from ..graph import graph as graph_of
    from ..graph.names import named

    variables = vars(sys.modules["__main__"])
    if seen.of is not None:
        result, around = _variable(seen, variables, program), seen.around or variables
        if result.grad_fn is None:
            raise Problem(f"{seen.of} has no graph: {_why_not(result)}")
        return graph_of(result, params=named(around) + named(variables))
    places = [frame.f_locals for frame in seen.frames] or [variables]
    names = [pair for place in places for pair in named(place)]
    if seen.roots:
        return graph_of(*seen.roots, params=names)
    recorded = [tensor for _, tensor in named(variables) if tensor.grad_fn is not None]
    if not recorded:
        raise Problem(
            f"{program.title} calls no backward(), and no variable of its module holds something with a graph: "
            "name a variable, also of a function, with --of NAME"
        )
    return graph_of(max(recorded, key=lambda tensor: tensor.grad_fn.seq), params=names)


def _variable(seen: _Seen, variables: dict, program: Program) -> Any:
    """The tensor that the variable asked for holds."""
    from ..tensor import Tensor

    assert seen.of is not None
    held = variables.get(seen.of, seen.found)
    if seen.found is not None and not isinstance(held, Tensor):
        held = seen.found
    if isinstance(held, Tensor):
        return held
    if seen.of in variables:
        raise Problem(f"{seen.of} is no tensor: it is {type(held).__name__}")
    there = [name for name, value in variables.items() if isinstance(value, Tensor) and value.grad_fn is not None]
    which = f"; its module has {', '.join(there[:8])}" if there else ""
    raise Problem(
        f"no variable {seen.of} of {program.title} holds a tensor when the program, or a function, ends{which}"
    )


def _why_not(result: Any) -> str:
    if result.requires_grad:
        return "the program made it, and computed it from nothing"
    return "nothing that it is computed from requires a gradient (requires_grad=True), or it was made in no_grad()"


def _shown(found: Any, options: Any) -> int:
    """Write the graph to where the options say; print it where they name no file."""
    written = False
    for form in FORMS:
        path = getattr(options, form)
        if path is None:
            continue
        written = True
        if path == "-":
            print(getattr(found, form)(fold=options.fold))
            continue
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(getattr(found, form)(fold=options.fold).rstrip("\n") + "\n")
        except OSError as error:
            raise Problem(f"cannot write {path}: {error.strerror or error}") from None
        print(f"wrote {path}", file=sys.stderr)
    if options.draw:
        print(found.draw(fold=options.fold))
    elif not written:
        print(found.fold() if options.fold else found)
    return 0
