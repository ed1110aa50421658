"""Windows as columns and back, and channels exchanged with space."""

from livegrad.ops.rearrange import COL2IM, IM2COL, blocks, channel_shuffle, pixel_shuffle, pixel_unshuffle

__all__ = ["channel_shuffle", "fold", "pixel_shuffle", "pixel_unshuffle", "unfold"]


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of (N, C, H, W) as columns: (N, C * window, number of windows). Without a batch as well.

    >>> import livegrad
    >>> livegrad.nn.functional.unfold(livegrad.ones(1, 2, 4, 4), 3).shape == (1, 18, 4)
    True
    """
    kernel_size, dilation, padding, stride = map(_pair, (kernel_size, dilation, padding, stride))
    if input.dim() not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    size = tuple(input.shape[-2:])
    count = blocks(size, kernel_size, dilation, padding, stride)
    if any(n < 1 for n in count):
        raise RuntimeError(
            f"Given input with spatial size {size}, kernel_size={kernel_size}, dilation={dilation}, padding={padding}, "
            f"calculated shape of the array of sliding blocks as {count}, but its components must be at least one."
        )
    batch = input if input.dim() == 4 else input.unsqueeze(0)
    made = IM2COL.apply(
        (batch,), size=size, window=kernel_size, dilation=dilation, padding=padding, stride=stride
    )  # fmt: skip
    return made if input.dim() == 4 else made.squeeze(0)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns as `unfold` makes them, added up in their places of (N, C, *output_size). Without a batch as well."""
    output_size, kernel_size, dilation, padding, stride = map(
        _pair, (output_size, kernel_size, dilation, padding, stride)
    )
    if input.dim() not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    channels, columns = input.shape[-2:]
    if channels % (kernel_size[0] * kernel_size[1]):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={channels} and kernel_size={kernel_size}."
        )
    count = blocks(output_size, kernel_size, dilation, padding, stride)
    if count[0] * count[1] != columns or min(count) < 1:
        raise RuntimeError(
            f"Given output_size={output_size}, kernel_size={kernel_size}, dilation={dilation}, padding={padding}, "
            f"stride={stride}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{count[0]} * {count[1]} = {count[0] * count[1]}, but got input.size(2)={columns}."
        )
    batch = input if input.dim() == 3 else input.unsqueeze(0)
    made = COL2IM.apply(
        (batch,), size=output_size, window=kernel_size, dilation=dilation, padding=padding, stride=stride
    )  # fmt: skip
    return made if input.dim() == 3 else made.squeeze(0)
