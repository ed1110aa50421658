"""`export`: from a module and example inputs to a program."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import livegrad

from ..compiler import _exports
from ..nn.module import Module
from ..tensor import Tensor
from ..utils import _pytree as pytree
from .capture import ExportError, Run, freeze
from .dimensions import Dim
from .program import (
    ExportedProgram,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)

__all__ = ["export"]

_STEPS = (32, 8, 4, 1, -1)


def export(
    mod: Module, args: tuple, kwargs: Mapping[str, Any] | None = None, *, dynamic_shapes: Any = None,
    strict: bool = False, preserve_module_call_signature: tuple = (),
    prefer_deferred_runtime_asserts_over_guards: bool = False,
) -> ExportedProgram:  # fmt: skip
    """What a module does with its inputs, as a graph of calls of public functions that no longer needs its Python.

    args, kwargs: example inputs. The module runs with them, twice; what it does that does not depend on the numbers in
    its inputs is followed: loops, branches, anything that is Python. dynamic_shapes: the sizes that may change from
    call to call, as a dictionary from parameters' names, or a tuple for them in order, to what each input has: a
    dictionary from dimensions to `Dim`, a tuple of one for each dimension, or None. Other sizes stay what they are in
    the example. strict and the arguments after it are accepted: there is one way.

    Raises ExportError where the module reads numbers out of tensors that depend on its inputs, or where it does
    something else for other sizes, and names the line. What a function does in place is done again when the program
    runs: in training mode the statistics of a batch norm change.

    >>> import livegrad
    >>> from livegrad import nn
    >>> net, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), livegrad.ones(4, 3)
    >>> program = livegrad.export.export(net, (x,), dynamic_shapes=({0: livegrad.export.Dim("batch")},))
    >>> print(program.graph_module.code.strip())
    def forward(self, p_0_weight, p_0_bias, input_1):
        linear = torch.nn.functional.linear(input_1, p_0_weight, p_0_bias);  input_1 = p_0_weight = p_0_bias = None
        relu = linear.relu();  linear = None
        return (relu,)
    >>> tuple(program.module()(livegrad.ones(7, 3)).shape)
    (7, 2)
    """
    if not isinstance(mod, Module):
        raise ValueError(f"Expected `mod` to be an instance of `torch.nn.Module`, got {type(mod)}.")
    if not isinstance(args, tuple):
        raise TypeError(f"Expecting `args` to be a tuple of example positional inputs, got {type(args)}")
    kwargs = {k: (kwargs or {})[k] for k in sorted(kwargs or {})}
    values, in_spec = pytree.tree_flatten((args, kwargs))
    names = _names(mod, args, kwargs)
    dynamic = _dynamic(mod, args, kwargs, values, dynamic_shapes)
    first, results, out_spec = _run(mod, values, in_spec, names)
    try:
        freeze(first, _again(mod, values, in_spec, names, dynamic))
    except Exception:
        named = [{k: d for k, d in each.items() if not d.root.name.startswith("_auto")} for each in dynamic]
        if named == dynamic:
            raise
        dynamic = named
        first, results, out_spec = _run(mod, values, in_spec, names)
        freeze(first, _again(mod, values, in_spec, names, dynamic))
    return _program(mod, first, results, (in_spec, out_spec), dynamic, (args, kwargs))


# --- one run ------------------------------------------------------------------------------------------------------


@contextmanager
def _unchanged(mod: Module) -> Iterator[None]:
    """Afterwards the default generator's state and the module's buffers are what they were."""
    state = livegrad.get_rng_state()
    before = [(b, b.detach().clone()) for b in mod.buffers()]
    _exports[0] += 1
    try:
        yield
    finally:
        _exports[0] -= 1
        livegrad.set_rng_state(state)
        for buffer, was in before:
            if not bool((buffer == was).all()):
                with livegrad.no_grad():
                    buffer.copy_(was)


def _run(mod: Module, values: list, in_spec: Any, names: list[str]) -> tuple[Run, list, Any]:
    """A run, what the module returned flattened, and in which structure."""
    run = Run()
    for name, t in mod.named_parameters():
        run.tensor_input("p_" + name.replace(".", "_"), t, False)
    for name, t in mod.named_buffers():
        run.tensor_input("b_" + name.replace(".", "_"), t, False)
    values = [v.detach().clone() if isinstance(v, Tensor) else v for v in values]
    for name, value in zip(names, values):
        node = run.tensor_input(name, value, True)
        if not isinstance(value, Tensor):
            node.meta["val"] = value
    args, kwargs = pytree.tree_unflatten(values, in_spec)
    with _unchanged(mod), livegrad.no_grad():
        with run:
            made = mod(*args, **kwargs)
        results, out_spec = pytree.tree_flatten(made)
        run.result(results)
    return run, results, out_spec


def _again(mod: Module, values: list, in_spec: Any, names: list[str], dynamic: list[dict[int, Dim]]) -> Run:
    """A second run, with other sizes where they may change: the first ones that the module takes.

    Far away ones are tried first, so that what is rounded, as in strides, differs as well.
    """
    failure: Exception | None = None
    for step in _STEPS if any(dynamic) else (0,):
        try:
            return _run(mod, _resized(values, dynamic, step), in_spec, names)[0]
        except ExportError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the module raises for sizes that it does not take
            failure = failure or error
    raise failure  # type: ignore[misc]


def _names(mod: Module, args: tuple, kwargs: dict) -> list[str]:
    """A name for each of the flattened inputs."""
    parameters = list(inspect.signature(mod.forward).parameters.values())
    found = []
    for k, value in enumerate(args):
        p = parameters[min(k, len(parameters) - 1)]
        name = f"{p.name}_{k - len(parameters) + 1}" if p.kind is p.VAR_POSITIONAL else p.name
        found += _of_parts(name, value)
    for name, value in kwargs.items():
        found += _of_parts(name, value)
    return found


def _of_parts(name: str, value: Any) -> list[str]:
    leaves, spec = pytree.tree_flatten(value)
    return [name] if spec.is_leaf() else [f"{name}_{i}" for i in range(len(leaves))]


# --- sizes that may change ----------------------------------------------------------------------------------------


def _dynamic(mod: Module, args: tuple, kwargs: dict, values: list, shapes: Any) -> list[dict[int, Dim]]:
    """For each flattened input: the dimensions that may change."""
    if shapes is None:
        return [{} for _ in values]
    parameters = list(inspect.signature(mod.forward).parameters)
    given = [*args, *kwargs.values()]
    names = [*parameters[: len(args)], *kwargs]
    if isinstance(shapes, Mapping):
        if set(shapes) != set(names):
            raise ValueError(
                "When `dynamic_shapes` is specified as a dict, its top-level keys must be the arg names "
                f"{names} of `inputs`, but here they are {list(shapes)}"
            )
        shapes = [shapes[name] for name in names]
    if len(shapes) != len(given):
        raise ValueError(f"dynamic_shapes has {len(shapes)} entries, but there are {len(given)} inputs: {names}")
    found: list[dict[int, Dim]] = []
    for name, value, each in zip(names, given, shapes):
        found += _of_input(name, value, each)
    return found


def _of_input(name: str, value: Any, shape: Any) -> list[dict[int, Dim]]:
    if not isinstance(value, Tensor):
        if shape is None:
            return [{} for _ in pytree.tree_leaves(value)]
        if isinstance(value, Mapping):
            return [d for k, v in value.items() for d in _of_input(f"{name}[{k!r}]", v, shape[k])]
        return [d for k, (v, each) in enumerate(zip(value, shape)) for d in _of_input(f"{name}[{k}]", v, each)]
    if shape is None:
        return [{}]
    found: dict[int, Dim] = {}
    for k, dim in shape.items() if isinstance(shape, Mapping) else enumerate(shape):
        if not -value.dim() <= k < value.dim():
            raise ValueError(f"dynamic_shapes names dimension {k} of {name}, which has {value.dim()} dimensions")
        k %= value.dim()
        if dim in (Dim.AUTO, Dim.DYNAMIC):
            dim = Dim(f"{'_auto' if dim is Dim.AUTO else '_dynamic'}_{value.shape[k]}")
        if isinstance(dim, str):
            dim = Dim(dim)
        if isinstance(dim, Dim):
            found[k] = dim
            root = dim.of(value.shape[k])
            if root is None or root < dim.root.min or (dim.root.max is not None and root > dim.root.max):
                raise ValueError(
                    f"dimension {k} of {name} is {value.shape[k]} in the example, which is no size of {dim}"
                )
        elif dim is not None and dim is not Dim.STATIC and dim != value.shape[k]:
            raise ValueError(
                f"dimension {k} of {name} is {value.shape[k]} in the example, but dynamic_shapes has {dim!r}"
            )
    return [found]


def _resized(values: list, dynamic: list[dict[int, Dim]], step: int) -> list:
    """The inputs with other sizes for the dimensions that may change, by `step`; their numbers are the example's."""
    roots: dict[str, int] = {}
    made = []
    for value, dims in zip(values, dynamic):
        for k, dim in dims.items():
            root = dim.root
            now = dim.of(value.shape[k]) or 0
            other = now + step if root.max is None else min(now + step, root.max)
            other = now - 1 if other == now else max(other, root.min)
            other = roots.setdefault(root.name, other)
            size = dim.factor * other + dim.added
            if not value.shape[k]:
                raise ExportError(
                    f"dimension {k} of an input is empty in the example, which has to have {dim} elements"
                )
            value = value.index_select(k, livegrad.arange(size) % value.shape[k])
        made.append(value)
    return made


# --- the program --------------------------------------------------------------------------------------------------


def _program(mod: Module, run: Run, results: list, structure: tuple, dynamic: list, example: tuple) -> ExportedProgram:
    state, constants = dict(mod.state_dict(keep_vars=True)), {}
    paths = {"p_" + n.replace(".", "_"): n for n, _ in mod.named_parameters()}
    buffers = {"b_" + n.replace(".", "_"): n for n, _ in mod.named_buffers()}
    held = {id(t): f"{path}.{name}".lstrip(".") for path, m in mod.named_modules() for name, t in vars(m).items()
            if isinstance(t, Tensor)}  # fmt: skip
    signature = ExportGraphSignature()
    for node in run.graph.find_nodes(op="placeholder"):
        arg = TensorArgument(node.name)
        if node.meta["varies"]:
            spec = InputSpec(InputKind.USER_INPUT, arg)
        elif node.name in run.constants:
            target = held.get(id(run.constants[node.name]), node.name[2:])
            constants[target] = run.constants[node.name]
            spec = InputSpec(InputKind.CONSTANT_TENSOR, arg, target)
        elif node.name in buffers:
            target = buffers[node.name]
            if target not in state:
                constants[target] = mod.get_buffer(target)
            spec = InputSpec(InputKind.BUFFER, arg, target, target in state)
        else:
            spec = InputSpec(InputKind.PARAMETER, arg, paths[node.name])
        signature.input_specs.append(spec)
    (end,) = run.graph.find_nodes(op="output")
    signature.output_specs = [
        OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(v.name) if hasattr(v, "name") else v) for v in end.args[0]
    ]
    return ExportedProgram(run.graph, signature, state, constants, structure, dynamic, example)
