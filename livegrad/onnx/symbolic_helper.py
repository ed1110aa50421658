"""Decorators of functions that say how an operator is written in ONNX's format."""

from collections.abc import Callable

__all__ = ["parse_args"]


def parse_args(*descriptors: str) -> Callable:
    """A decorator that gives back the function."""
    return lambda function: function
