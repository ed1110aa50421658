"""Arithmetic operations of a forward step, from its operands' shapes.

A multiply-add counts as two. An elementwise operator counts one for each element of its result, a transcendental
function too; a reduction one for each element it reads; moving data none. None where there is no formula.
"""

import math

MOVES = {
    "view", "reshape", "view_as", "reshape_as", "transpose", "permute", "t", "mT", "movedim", "swapaxes",
    "swapdims", "expand", "expand_as", "broadcast_to", "squeeze", "unsqueeze", "flatten", "unflatten", "select",
    "slice", "narrow", "split", "chunk", "unbind", "diagonal", "as_strided", "unfold", "getitem", "alias",
    "detach", "clone", "contiguous", "copy", "to", "cast", "type_as", "cat", "concat", "concatenate", "stack",
    "hstack", "vstack", "repeat", "tile", "flip", "roll", "gather", "index", "index_select", "take",
    "embedding", "pad", "tril", "triu", "repeat_interleave", "masked_select", "sort", "topk", "kthvalue", "scatter",
}  # fmt: skip
REDUCTIONS = {
    "sum", "mean", "prod", "max", "min", "amax", "amin", "argmax", "argmin", "any", "all", "norm", "var", "std",
    "var_mean", "std_mean", "logsumexp", "nansum", "nanmean", "median", "count_nonzero", "cumsum", "cumprod",
    "cummax", "cummin", "logcumsumexp", "trace",
}  # fmt: skip
ROWS = {  # operations for each element, counted from the definitions
    "softmax": 4, "log_softmax": 4, "layer_norm": 8, "rms_norm": 5, "batch_norm": 4, "group_norm": 8,
    "instance_norm": 8, "dropout": 1, "gelu": 8, "silu": 4, "mse_loss": 3, "l1_loss": 2, "cross_entropy": 5,
    "nll_loss": 1, "binary_cross_entropy": 9, "binary_cross_entropy_with_logits": 9, "smooth_l1_loss": 8,
    "huber_loss": 8,
}  # fmt: skip


def flops(node):
    """The count for an operator's node, or None."""
    op = node.op.rstrip("_")
    shapes = [_shape(item) for item in node.inputs]
    tensors = [shape for shape in shapes if shape is not None]
    if op in MOVES:
        return 0
    if op in _PRODUCTS:
        try:
            return _PRODUCTS[op](tensors, node.shape)
        except (IndexError, ZeroDivisionError):
            return None
    if op in ROWS:
        return ROWS[op] * math.prod(tensors[0]) if tensors else None
    if op in REDUCTIONS and (op not in ("max", "min") or len(tensors) == 1):
        return math.prod(tensors[0]) if tensors else None
    if tensors and _broadcast(tensors) == tuple(node.shape):
        return node.numel
    return None


def _shape(item):
    return getattr(item, "shape", None)


def _broadcast(shapes):
    """The common shape, or None."""
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        for axis, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                if result[axis] not in (1, size):
                    return None
                result[axis] = size
    return tuple(result)


def _matmul(shapes, out):
    return 2 * math.prod(out) * shapes[0][-1]


def _add_product(first):
    """``addmm`` and its like: operand ``first`` and the next are multiplied, the remaining one is added."""
    return lambda shapes, out: 2 * math.prod(out) * shapes[first][-1] + math.prod(out)


def _linear(shapes, out):
    """x, w; or, as in ``addmm``, b, x, w."""
    return (_matmul if len(shapes) < 3 else _add_product(1))(shapes, out)


def _conv(shapes, out):
    return 2 * math.prod(out) * math.prod(shapes[1][1:]) + (math.prod(out) if len(shapes) > 2 else 0)


def _conv_transpose(shapes, out):
    return 2 * math.prod(shapes[0]) * math.prod(shapes[1][1:]) + (math.prod(out) if len(shapes) > 2 else 0)


def _attention(shapes, out):
    query, key, value = shapes[:3]
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]) + 4 * math.prod(query[:-1]) * key[-2]


def _recurrent(shapes, out):
    """x, h, c, w_ih, w_hh: each row of x meets both weights."""
    rows = math.prod(shapes[0][:-1])
    return 2 * rows * (math.prod(shapes[3]) + math.prod(shapes[4]))


_PRODUCTS = {
    "matmul": _matmul, "mm": _matmul, "bmm": _matmul, "mv": _matmul, "dot": _matmul, "inner": _matmul, "vdot": _matmul,
    "addmm": _add_product(1), "addmv": _add_product(1), "baddbmm": _add_product(1), "linear": _linear,
    "outer": lambda shapes, out: math.prod(out),
    "conv1d": _conv, "conv2d": _conv, "conv3d": _conv, "convolution": _conv,
    "conv_transpose": _conv_transpose,
    "conv_transpose1d": _conv_transpose, "conv_transpose2d": _conv_transpose, "conv_transpose3d": _conv_transpose,
    "conv_weight": lambda shapes, out: 2 * math.prod(shapes[1]) * math.prod(out[1:]),
    "scaled_dot_product_attention": _attention,
    "lstm": _recurrent, "gru": _recurrent, "rnntanh": _recurrent, "rnnrelu": _recurrent,
}  # fmt: skip
