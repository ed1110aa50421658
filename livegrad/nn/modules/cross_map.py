"""CrossMapLRN2d, as Torch 7 had it: windows of channels, and gradients, are what they were there."""

from ...autograd.function import Function, once_differentiable
from .. import functional as F
from ..module import Module

__all__ = ["CrossMapLRN2d"]


def _sums(x, before, size):
    """For each channel, the sum over `size` channels, of which the first is so many before it."""
    return F.pad(x, (0, 0, 0, 0, before, size - 1 - before)).unfold(1, size, 1).sum(-1)


class CrossMapLRN2dFunction(Function):
    """The normalisation, and its gradient, which leaves out the same neighbours that Torch 7 left out."""

    @staticmethod
    def forward(ctx, input, size, alpha, beta, k):
        half = int((size - 1) / 2 + 1) - 1
        squares = input * input
        sums = _sums(squares, half, 2 * half + 1)
        sums[:, half + 1 :] += squares[:, :1]  # the first channel stays in the window
        scale = sums * (alpha / size) + k
        output = scale**-beta * input
        ctx.save_for_backward(input, output, scale)
        ctx.size, ctx.alpha, ctx.beta = size, alpha, beta
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        input, output, scale = ctx.saved_tensors
        before = int(ctx.size - (ctx.size - 1) / 2)
        sums = _sums(grad * output / scale, before, ctx.size)
        own = scale**-ctx.beta * grad
        return own - 2 * ctx.alpha * ctx.beta / ctx.size * input * sums, None, None, None, None


class CrossMapLRN2d(Module):
    """Divides by (k + alpha / size · the sum of the squares of neighbouring channels) ** beta, for images (N, C, H, W).

    There are as many neighbours on both sides: ``size`` channels in all where that is odd, one more where it is even.
    The first channel counts as a neighbour of all that come after its window, too. Raises ValueError for other than
    four dimensions.

    >>> import livegrad
    >>> from livegrad import nn
    >>> nn.CrossMapLRN2d(2, alpha=0.1)(livegrad.ones(1, 2, 1, 1)).flatten()
    tensor([0.9641, 0.9310])
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input):
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        return CrossMapLRN2dFunction.apply(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
