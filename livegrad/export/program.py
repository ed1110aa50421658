"""Exported programs: the graph, what it takes and gives, and the module that runs it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..fx.graph import Graph
from ..fx.graph_module import GraphModule
from ..nn.module import Module
from ..nn.parameter import Parameter
from ..tensor import Tensor
from ..utils import _pytree as pytree
from .dimensions import Dim

__all__ = [
    "ExportGraphSignature", "ExportedProgram", "InputKind", "InputSpec", "OutputKind", "OutputSpec", "TensorArgument",
]  # fmt: skip


class InputKind(enum.Enum):
    """What an input of the graph is."""

    USER_INPUT = enum.auto()
    PARAMETER = enum.auto()
    BUFFER = enum.auto()
    CONSTANT_TENSOR = enum.auto()


class OutputKind(enum.Enum):
    """What a result of the graph is."""

    USER_OUTPUT = enum.auto()


@dataclass
class TensorArgument:
    """A tensor, by the name of its node."""

    name: str


@dataclass
class InputSpec:
    """An input: its kind, its node, and the path of a parameter or buffer."""

    kind: InputKind
    arg: Any
    target: str | None = None
    persistent: bool | None = None

    def __str__(self) -> str:
        text = f"{self.arg.name}: {self.kind.name}"
        text += f" target='{self.target}'" if self.target is not None else ""
        return text + (f" persistent={self.persistent}" if self.persistent is not None else "")


@dataclass
class OutputSpec:
    """A result: its kind, and its node or the number that it is."""

    kind: OutputKind
    arg: Any
    target: str | None = None

    def __str__(self) -> str:
        return f"{getattr(self.arg, 'name', self.arg)}: {self.kind.name}"


@dataclass
class ExportGraphSignature:
    """What a graph takes, parameters and buffers first, and what it gives."""

    input_specs: list[InputSpec] = field(default_factory=list)
    output_specs: list[OutputSpec] = field(default_factory=list)

    def _targets(self, kind: InputKind) -> tuple[str, ...]:
        return tuple(s.target for s in self.input_specs if s.kind is kind and s.target is not None)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The paths of parameters."""
        return self._targets(InputKind.PARAMETER)

    @property
    def buffers(self) -> tuple[str, ...]:
        """The paths of buffers."""
        return self._targets(InputKind.BUFFER)

    @property
    def non_persistent_buffers(self) -> set[str]:
        """The paths of buffers that state dicts leave out."""
        return {s.target for s in self.input_specs if s.persistent is False and s.target is not None}

    @property
    def lifted_tensor_constants(self) -> tuple[str, ...]:
        """The paths of tensors that are neither."""
        return self._targets(InputKind.CONSTANT_TENSOR)

    @property
    def user_inputs(self) -> tuple[str, ...]:
        """The names of the nodes of the program's own inputs."""
        return tuple(s.arg.name for s in self.input_specs if s.kind is InputKind.USER_INPUT)

    @property
    def user_outputs(self) -> tuple:
        """The names of the nodes that are returned; numbers as they are."""
        return tuple(getattr(s.arg, "name", s.arg) for s in self.output_specs)

    @property
    def inputs_to_parameters(self) -> dict[str, str]:
        """The path of each parameter, by its node's name."""
        return {s.arg.name: s.target for s in self.input_specs if s.kind is InputKind.PARAMETER}  # type: ignore[misc]

    @property
    def inputs_to_buffers(self) -> dict[str, str]:
        """The path of each buffer, by its node's name."""
        return {s.arg.name: s.target for s in self.input_specs if s.kind is InputKind.BUFFER}  # type: ignore[misc]

    @property
    def inputs_to_lifted_tensor_constants(self) -> dict[str, str]:
        """The path of each other tensor, by its node's name."""
        return {s.arg.name: s.target for s in self.input_specs if s.kind is InputKind.CONSTANT_TENSOR}  # type: ignore[misc]

    def __str__(self) -> str:
        ins, outs = "\n".join(map(str, self.input_specs)), "\n".join(map(str, self.output_specs))
        return f"\n# inputs\n{ins}\n\n# outputs\n{outs}\n"


class _ProgramModule(GraphModule):
    """A module with the parameters of an exported program; takes and gives what the program did."""

    def recompile(self) -> None:
        super().recompile()
        flat, program = type(self).forward, self.__dict__.get("_program")
        if program is not None:
            type(self).forward = _with_structure(flat, program)  # type: ignore[method-assign]


def _with_structure(flat: Callable, program: ExportedProgram) -> Callable:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        values = program._flattened(args, kwargs)
        return pytree.tree_unflatten(list(flat(self, *values)), program._out_spec)

    return forward


class ExportedProgram:
    """A program as a graph of calls of public functions, made by `export`.

    graph_module, graph: the graph, whose inputs are parameters, buffers and other tensors, then the program's own.
    graph_signature: which is which. state_dict: parameters and buffers; constants: the other tensors.
    range_constraints: the bounds of the dimensions that may change, by name. example_inputs: (args, kwargs) that it was
    exported with. `module()` gives something to call.
    """

    def __init__(
        self, graph: Graph, graph_signature: ExportGraphSignature, state_dict: dict, constants: dict,
        structure: tuple, dynamic: list[dict[int, Dim]], example_inputs: Any,
    ) -> None:  # fmt: skip
        self.graph_module = GraphModule(Module(), graph, "GraphModule")
        self.graph_signature, self.state_dict, self.constants = graph_signature, state_dict, constants
        self.example_inputs = example_inputs
        (self._in_spec, self._out_spec), self._dynamic = structure, dynamic

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.graph_module.graph

    @property
    def tensor_constants(self) -> dict:
        """Tensors that are neither parameters nor buffers."""
        return self.constants

    @property
    def range_constraints(self) -> dict[str, tuple[int, float]]:
        """(least, greatest) size of each dimension that may change."""
        roots = {d.root.name: d.root for each in self._dynamic for d in each.values()}
        return {name: (d.min, float("inf") if d.max is None else d.max) for name, d in roots.items()}

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(path, parameter) of each."""
        yield from ((name, self.state_dict[name]) for name in self.graph_signature.parameters)

    def parameters(self) -> Iterator[Tensor]:
        """Each parameter."""
        yield from (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) of each."""
        for name in self.graph_signature.buffers:
            yield name, self.state_dict[name] if name in self.state_dict else self.constants[name]

    def buffers(self) -> Iterator[Tensor]:
        """Each buffer."""
        yield from (b for _, b in self.named_buffers())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Unable to call ExportedProgram directly. You should use `exported_program.module()` instead."
        )

    def module(self, check_guards: bool = True) -> GraphModule:
        """A module that does what the program did: with its parameters, from its inputs, in their structure.

        Raises AssertionError for an input of another shape or dtype than the example, but for dimensions that may
        change, and ValueError for inputs of another structure.
        """
        found: dict[str, Any] = {}
        graph, stand_ins = Graph(), {}
        specs = {s.arg.name: s for s in self.graph_signature.input_specs}
        for node in self.graph.nodes:
            spec = specs.get(node.name) if node.op == "placeholder" else None
            if spec is not None and spec.target is not None:
                found[spec.target] = self._tensor(spec)
                stand_ins[node] = graph.get_attr(spec.target)
            else:
                stand_ins[node] = graph.node_copy(node, lambda n: stand_ins[n])
        holder = Module()
        for path, t in found.items():
            *way, last = path.split(".")
            place = holder
            for atom in way:
                if atom not in place._modules:
                    place.add_module(atom, Module())
                place = getattr(place, atom)
            if isinstance(t, Parameter):
                place.register_parameter(last, t)
            else:
                place.register_buffer(last, t, persistent=path in self.state_dict)
        made = _ProgramModule(holder, graph, "GraphModule")
        made.__dict__["_program"] = self
        made.recompile()
        return made

    def _tensor(self, spec: InputSpec) -> Any:
        return self.state_dict[spec.target] if spec.target in self.state_dict else self.constants[spec.target]

    def _flattened(self, args: tuple, kwargs: dict) -> list:
        values, spec = pytree.tree_flatten((args, {k: kwargs[k] for k in sorted(kwargs)}))
        if spec != self._in_spec:
            raise ValueError(
                f"Trying to flatten user inputs with exported input tree spec: \n{self._in_spec}\nbut actually got "
                f"inputs with tree spec of: \n{spec}.\nPlease check that the inputs have the same number and type of "
                "args and kwargs as the ones you used when exporting."
            )
        roots: dict[str, int] = {}
        inputs = [s for s in self.graph_signature.input_specs if s.kind is InputKind.USER_INPUT]
        nodes = {n.name: n for n in self.graph.find_nodes(op="placeholder")}
        for value, spec_of, dynamic in zip(values, inputs, self._dynamic):
            _check_input(spec_of.arg.name, value, nodes[spec_of.arg.name].meta["val"], dynamic, roots)
        return values

    def __str__(self) -> str:
        code = self.graph_module.print_readable(print_output=False).replace("\n", "\n    ")
        signature = str(self.graph_signature).replace("\n", "\n    ")
        bounds = ", ".join(f"{k}: [{a}, {b}]" for k, (a, b) in self.range_constraints.items())
        return f"ExportedProgram:\n    {code}\nGraph signature: {signature}\nRange constraints: {{{bounds}}}\n"


def _check_input(name: str, value: Any, expected: Any, dynamic: dict[int, Dim], roots: dict[str, int]) -> None:
    """AssertionError where an input is not like its example. roots: the sizes of dimensions that are known so far."""
    if not isinstance(expected, Tensor):
        if value != expected:
            raise AssertionError(
                f"Guard failed: {name} == {expected!r}, for that is what it was exported with: {value!r}"
            )
        return
    if not isinstance(value, Tensor) or value.dim() != expected.dim():
        shown = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise AssertionError(f"Guard failed: {name} is a tensor with {expected.dim()} dimensions, but got {shown}")
    if value.dtype is not expected.dtype:
        raise AssertionError(f"Guard failed: {name}.dtype == {expected.dtype}, but it is {value.dtype}")
    for k, (size, wanted) in enumerate(zip(value.shape, expected.shape)):
        dim = dynamic.get(k)
        if dim is None:
            if size != wanted:
                raise AssertionError(f"Guard failed: {name}.size()[{k}] == {wanted}, but it is {size}")
            continue
        root = dim.of(size)
        if root is None or root < dim.root.min or (dim.root.max is not None and root > dim.root.max):
            raise AssertionError(f"Guard failed: {name}.size()[{k}] is {dim.name}, but it is {size}")
        if roots.setdefault(dim.root.name, root) != root:
            raise AssertionError(
                f"Guard failed: {name}.size()[{k}] is {dim.name}, and that is {roots[dim.root.name]} elsewhere, but "
                f"it is {size}"
            )
