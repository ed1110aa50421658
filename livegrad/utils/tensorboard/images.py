"""Images: any layout to rows, columns and channels of bytes, then PNG."""

import io
import math

import numpy as np

from .require import require
from .values import to_numpy


def to_image(value, dataformats):
    """``(H, W, C)`` bytes, C being 1, 3 or 4. Several images (``N``) become a grid. Floats count from 0 to 1."""
    array, letters = to_numpy(value), dataformats.upper()
    if array.ndim != len(letters) or len(set(letters)) != len(letters) or not {"H", "W"} <= set(letters) <= set("NCHW"):
        raise ValueError(
            f"dataformats must have one of the letters N, C, H, W for each axis, among them H and W: "
            f"got {dataformats!r} for an image of shape {array.shape}"
        )
    for missing in "NC":
        if missing not in letters:
            array, letters = array[None], missing + letters
    array = array.transpose([letters.index(letter) for letter in "NHWC"])
    if array.shape[-1] not in (1, 3, 4):
        raise ValueError(f"an image has 1, 3 or 4 channels, but got {array.shape[-1]} (shape {to_numpy(value).shape})")
    return _grid(_bytes(array))


def _bytes(array):
    if array.dtype == np.uint8:
        return array
    return np.clip(np.nan_to_num(array.astype(np.float32)) * 255, 0, 255).astype(np.uint8)


def _grid(images):
    """Images side by side, in about as many rows as columns."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns) if columns else 0
    grid = np.zeros((rows * columns, height, width, channels), np.uint8)
    grid[:count] = images
    grid = grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def figure_image(figure, close=True):
    """``(4, H, W)`` bytes of a matplotlib figure, or ``(N, 4, H, W)`` of a list of figures of one size."""
    if isinstance(figure, (list, tuple)):
        return np.stack([figure_image(each, close) for each in figure])
    canvas = require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.array(canvas.buffer_rgba())
    if close:
        require("matplotlib.pyplot").close(figure)
    return np.moveaxis(pixels, -1, 0)


def png(image):
    """The PNG file of ``(H, W, C)`` bytes."""
    if image.shape[-1] == 1:
        image = image[..., 0]
    file = io.BytesIO()
    require("PIL.Image").fromarray(image).save(file, format="PNG")
    return file.getvalue()
