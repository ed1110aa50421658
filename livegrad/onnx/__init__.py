"""Models in ONNX's format.

`export` writes a model; how each operator is written is said in `operators`. The package ``onnx`` is needed for it
(``pip install livegrad[onnx]``).
"""

import importlib
from collections.abc import Callable
from typing import Any

from . import symbolic_helper, symbolic_opset11
from .errors import OnnxExporterError

__all__ = [
    "ONNXProgram", "OnnxExporterError", "OperatorExportTypes", "TrainingMode", "export", "is_in_onnx_export",
    "register_custom_op_symbolic", "symbolic_helper", "symbolic_opset11",
]  # fmt: skip


def is_in_onnx_export() -> bool:
    """Whether `export` is running a model."""
    from .exporting import EXPORTS

    return EXPORTS[0] > 0


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Callable, opset_version: int, **options: Any) -> None:
    """Accepts how PyTorch would write an operator, which is not used: see `export`'s custom_translation_table."""


def __getattr__(name: str) -> Any:
    if name in ("export", "OperatorExportTypes", "TrainingMode"):
        from . import exporting

        return getattr(exporting, name)
    if name == "ONNXProgram":
        from .program import ONNXProgram

        return ONNXProgram
    if name == "operators":
        return importlib.import_module(f"{__name__}.operators")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
