"""Settings of PyTorch's compiler that programs write to, and `livegrad.compiler` under another name."""

from types import SimpleNamespace

from ..compiler import allow_in_graph, assume_constant_result, disable, is_compiling, list_backends, reset

__all__ = ["allow_in_graph", "assume_constant_result", "config", "disable", "is_compiling", "list_backends", "reset"]

config = SimpleNamespace(suppress_errors=False, cache_size_limit=8, verbose=False)
