"""What libraries ask of ONNX's exporter when they are imported. Files in ONNX's format are not written."""

from collections.abc import Callable
from typing import Any

from . import symbolic_helper, symbolic_opset11

__all__ = ["is_in_onnx_export", "register_custom_op_symbolic", "symbolic_helper", "symbolic_opset11"]


def is_in_onnx_export() -> bool:
    """False: nothing is ever exported."""
    return False


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Callable, opset_version: int, **options: Any) -> None:
    """Accepts how an operator would be written."""
