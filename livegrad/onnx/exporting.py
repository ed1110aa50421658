"""`export`: from a module to an ONNX model."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import livegrad

from ..export import Dim, ExportedProgram
from ..export import export as recorded
from ..nn.module import Module
from ..tensor import Tensor
from ..utils import _pytree as pytree
from .errors import OnnxExporterError
from .program import ONNXProgram
from .translation import translated

__all__ = ["EXPORTS", "OperatorExportTypes", "TrainingMode", "export"]

EXPORTS = [0]  # how many are under way


class TrainingMode(enum.Enum):
    """The mode that a model is exported in: evaluation mode, the one it is in, or training mode."""

    EVAL = 0
    PRESERVE = 1
    TRAINING = 2


class OperatorExportTypes(enum.Enum):
    """How operators are written: ONNX's own are all there is."""

    ONNX = 0


def export(
    model: Any, args: Any = (), f: str | os.PathLike | BinaryIO | None = None, *, kwargs: Mapping | None = None,
    verbose: bool | None = None, input_names: Sequence[str] | None = None, output_names: Sequence[str] | None = None,
    opset_version: int | None = None, dynamo: bool = True, external_data: bool | None = None,
    dynamic_shapes: Any = None, custom_translation_table: Mapping[Callable, Callable] | None = None,
    verify: bool = False, export_params: bool = True, keep_initializers_as_inputs: bool = False,
    dynamic_axes: Mapping | None = None, training: TrainingMode = TrainingMode.EVAL,
    operator_export_type: OperatorExportTypes = OperatorExportTypes.ONNX, do_constant_folding: bool = True,
    optimize: bool = True,
) -> ONNXProgram:  # fmt: skip
    """A model as one in ONNX's format; needs the package ``onnx`` (the extra ``livegrad[onnx]``).

    model: a module, or an `export.ExportedProgram`. args, kwargs: example inputs; one tensor may come without a tuple.
    f: a file to write to. input_names, output_names: what inputs and results are called there. dynamic_axes: the sizes
    that may change, by the names of inputs: a list of dimensions, or a dictionary from them to names; or dynamic_shapes
    as `export.export` takes it. opset_version: the version of ONNX's operators, 17 or newer, 18 if it is not given.
    verify: run the model with the example and compare. custom_translation_table: translations for functions of the
    program's own. What does not depend on inputs is computed now. dynamo, external_data and what follows
    are accepted as PyTorch has them; numbers go into a second file where one would be too large.

    Operators are translated by the table in `onnx.operators`. Raises OnnxExporterError for one that is not there, or
    for a use of one that ONNX has no way for, with the user's line, and `export.ExportError` where a model cannot be
    written down.

    >>> import livegrad
    >>> from livegrad import nn
    >>> x = livegrad.ones(2, 3)
    >>> made = livegrad.onnx.export(nn.Linear(3, 4), (x,), input_names=["x"])  # doctest: +SKIP
    >>> made.save("linear.onnx")  # doctest: +SKIP
    """
    _needed()
    opset = 18 if opset_version is None else opset_version
    if opset < 17:
        raise ValueError(f"opset_version has to be 17 or newer, but is {opset}")
    if isinstance(args, Tensor):
        args = (args,)
    if not export_params:
        raise ValueError("a model is written with its parameters: export_params=False is not there")
    EXPORTS[0] += 1
    try:
        program = _recorded(model, tuple(args), dict(kwargs or {}), input_names, dynamic_axes, dynamic_shapes, training)
        custom = {getattr(k, "__name__", str(k)): v for k, v in (custom_translation_table or {}).items()}
        proto = translated(program, opset, input_names, output_names, custom, keep_initializers_as_inputs)
    finally:
        EXPORTS[0] -= 1
    made = ONNXProgram(proto, program)
    if verify:
        _verify(made)
    if verbose:
        _print(proto)
    if f is not None:
        made.save(f, external_data=external_data)
    return made


def _print(proto: Any) -> None:
    """Print the model as text, without its numbers."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    del shown.graph.initializer[:]
    print(onnx.printer.to_text(shown))


def _needed() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise OnnxExporterError(
            "onnx.export writes models with the package onnx, which is not installed: pip install livegrad[onnx]"
        ) from None


def _recorded(
    model: Any, args: tuple, kwargs: dict, input_names: Any, dynamic_axes: Any, dynamic_shapes: Any, training: Any
) -> ExportedProgram:
    if isinstance(model, ExportedProgram):
        return model
    if not isinstance(model, Module):
        raise TypeError(f"model has to be a module or an exported program, but is a {type(model).__name__}")
    if args and isinstance(args[-1], dict) and not kwargs:  # PyTorch's older way to give keyword arguments
        args, kwargs = args[:-1], args[-1]
    if dynamic_axes and dynamic_shapes is None:
        dynamic_shapes = _shapes_of(dynamic_axes, args, kwargs, input_names)
    modes = {m: m.training for m in model.modules()}
    try:
        if training is not TrainingMode.PRESERVE:
            model.train(training is TrainingMode.TRAINING)
        return recorded(model, args, kwargs, dynamic_shapes=dynamic_shapes)
    finally:
        for m, mode in modes.items():
            m.training = mode


def _shapes_of(dynamic_axes: Mapping, args: tuple, kwargs: dict, input_names: Any) -> Any:
    """PyTorch's older description of sizes that may change as `export.export` takes it."""
    leaves, spec = pytree.tree_flatten((args, {k: kwargs[k] for k in sorted(kwargs)}))
    names = list(input_names or [])
    known: dict[str, Dim] = {}
    shapes: list[Any] = []
    tensors = iter(range(len(leaves)))
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            shapes.append(None)
            continue
        place = next(tensors)
        axes = dynamic_axes.get(names[place] if place < len(names) else None)
        if axes is None:
            shapes.append(None)
            continue
        if not isinstance(axes, Mapping):
            axes = {k: f"{names[place]}_dim_{k}" for k in axes}
        shapes.append({k: known.setdefault(n, Dim(n)) for k, n in axes.items()})
    positional, named = pytree.tree_unflatten(shapes, spec)
    return (*positional, *named.values())


def _verify(made: ONNXProgram) -> None:
    """AssertionError where the model gives other numbers than the program for the example."""
    args, kwargs = made.exported_program.example_inputs
    expected = [t for t in pytree.tree_leaves(made.exported_program.module()(*args, **kwargs)) if isinstance(t, Tensor)]
    for mine, theirs in zip(made(*args, **kwargs), expected):
        livegrad.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
