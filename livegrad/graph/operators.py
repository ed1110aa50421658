"""What recorded operators are called: by PyTorch's names, whatever they are inside.

Many public functions are one operator here: `sort` and `topk` are a `gather`, all norms are one row program. The node
of the backward graph has PyTorch's name, which tells them apart.
"""

import difflib
import importlib
import re
import sys

from ..ops.registry import FUNCTIONS
from ..tensor import Tensor

# Operators that are the inside of several functions: what the user has called is told by the node's name.
SHARED = {"cross_entropy", "gather", "index", "index_put", "permute", "scatter", "sum"}
# What is in the names of PyTorch's nodes and not in those of its functions.
_BEFORE = re.compile(r"^(native|fused|unsafe)_")
_AFTER = re.compile(r"_(with_indices|alias|copy|kernel)$")
# Where public functions are that are neither methods nor functions of the package.
_MODULES = ("nn.functional", "linalg", "fft", "special")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def called(op, node="", rank=0):
    """The name that the graph shows for an operator: its own where a user can call it so, else that of its node.

    op: its name in the registry. node: the name of its node in the backward graph, with or without a number. rank: of
    the result, which tells convolutions apart.

        >>> from livegrad.graph.operators import called
        >>> called("gather", "TopkBackward0"), called("normalise", "NativeLayerNormBackward0")
        ('topk', 'layer_norm')
    """
    op = op.lstrip("_")
    if op in ("convolution", "conv_transpose"):
        return f"{op.replace('convolution', 'conv')}{rank - 2}d" if rank > 2 else op
    if node.startswith(f"{op}Backward") or (op not in SHARED and _is_public(op)):  # the former: an autograd.Function
        return op
    return from_node(node) or op


def from_node(node):
    """The function that a node's name tells: ``"max_pool2d"`` for ``"MaxPool2DWithIndicesBackward0"``."""
    words = _WORDS.sub("_", node.partition("Backward")[0]).lower()
    return _AFTER.sub("", _BEFORE.sub("", words))


def every_name(op, node, rank):
    """All names under which a recorded operator is found."""
    inside = op.lstrip("_")
    return {called(op, node, rank), inside, from_node(node)}


def check_known(op, there):
    """ValueError for what is the name of no operator, with those of the graph, as `there` shows them, that are near."""
    for module in _MODULES:  # a name may be asked for that nothing in this program is called by
        importlib.import_module(f"livegrad.{module}")
    if _is_public(op) or hasattr(sys.modules["livegrad"].ops.aten, op):
        return
    near = difflib.get_close_matches(op, there, n=3) or sorted(there)
    raise ValueError(f"no operator is called {op!r}; this graph has {', '.join(near)}")


def _is_public(name):
    """Whether a function or a method has the name. (The module of what is recorded has been imported.)"""
    if name in FUNCTIONS or name in vars(Tensor) or _has("nn.functional", name):
        return True
    space, _, rest = name.partition("_")
    return space in _MODULES and _has(space, rest)


def _has(module, name):
    return callable(getattr(sys.modules.get(f"livegrad.{module}"), name, None))
