"""A translated model: its proto, saving it and running it."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import livegrad

from ..export import ExportedProgram
from ..tensor import Tensor
from ..utils import _pytree as pytree
from .writer import array_of

__all__ = ["ONNXProgram"]


class ONNXProgram:
    """What `export` gives: `model_proto` is the ONNX model, `exported_program` what it was translated from.

    Called with the inputs of the program, it runs the model, with onnxruntime where that is installed, else with ONNX's
    reference implementation, and gives a list of tensors.
    """

    def __init__(self, model_proto: Any, exported_program: ExportedProgram):
        self.model_proto, self.exported_program = model_proto, exported_program
        self._run: Any = None

    @property
    def model(self) -> Any:
        """The model's proto."""
        return self.model_proto

    def save(self, destination: str | os.PathLike | BinaryIO, *, external_data: bool | None = None) -> None:
        """Write the model to a file, or a binary file object.

        external_data: whether its numbers go to a file beside it, named after it with ".data" at the end; without it,
        those of models that are too large for one file (2 GB) do.
        """
        import onnx

        if not isinstance(destination, (str, os.PathLike)):
            destination.write(self.model_proto.SerializeToString())
            return
        path = os.fspath(destination)
        if external_data is None:
            external_data = self.model_proto.ByteSize() > 2_000_000_000
        if not external_data:
            onnx.save(self.model_proto, path)
            return
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model_proto)
        onnx.save(
            copy, path, save_as_external_data=True, location=os.path.basename(path) + ".data", size_threshold=1024
        )

    def __call__(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        values = [
            v for v in pytree.tree_leaves((args, {k: kwargs[k] for k in sorted(kwargs)})) if isinstance(v, Tensor)
        ]
        names = [i.name for i in self.model_proto.graph.input]
        if len(values) != len(names):
            raise ValueError(f"expected {len(names)} tensors ({', '.join(names)}), but got {len(values)}")
        if self._run is None:
            self._run = _runner(self.model_proto)
        feed = {name: array_of(v) for name, v in zip(names, values)}
        return [livegrad.tensor(a) for a in self._run(None, feed)]


def _runner(model: Any) -> Any:
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(model).run
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run
