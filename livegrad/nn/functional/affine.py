"""Linear maps."""

from livegrad.native import hot
from livegrad.ops import linear as products
from livegrad.ops.casting import autocasts

__all__ = ["bilinear", "linear"]


@hot
def linear(input, weight, bias=None):
    """``input @ weight.T + bias``: (*, in) with a weight (out, in) gives (*, out)."""
    return products.linear(input, weight, bias)


@autocasts
def bilinear(input1, input2, weight, bias=None):
    """``input1 @ weight[k] @ input2 + bias[k]`` for every k: (*, a) and (*, b) with a weight (n, a, b) give (*, n)."""
    if weight.dim() != 3:
        raise RuntimeError(f"bilinear(): the weight has shape {list(weight.shape)}, expected (outputs, size1, size2)")
    if input1.dim() != input2.dim():
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}")
    for d, (m, n) in enumerate(zip(input1.shape[:-1], input2.shape[:-1])):
        if m != n:
            raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {d}: got {m} and {n}")
    outputs, size1, size2 = weight.shape
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {list(bias.shape)} but expected {outputs}"
        )
    for name, value, size in (("input1", input1, size1), ("input2", input2, size2)):
        if value.size(-1) != size:
            raise RuntimeError(
                f"bilinear(): {name} size does not match weight size: got {value.size(-1)} but expected {size}"
            )
    partial = input1.matmul(weight.permute(1, 0, 2).reshape(size1, outputs * size2))
    partial = partial.reshape(*input1.shape[:-1], outputs, size2)
    result = (partial * input2.unsqueeze(-2)).sum(-1, dtype=input1.dtype)
    return result if bias is None else result + bias
