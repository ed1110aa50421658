"""Making one batch of a list of samples."""

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

import livegrad
from livegrad.tensor import Tensor

__all__ = ["default_collate", "default_convert"]

_WRONG = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def default_collate(batch):
    """A list of samples as one batch, with a new first dimension.

    Tensors and NumPy arrays are stacked, numbers become a tensor, strings stay a list; tuples, lists and dictionaries
    are collated entry by entry. TypeError for anything else.

    >>> from livegrad.utils.data import default_collate
    >>> default_collate([{"x": 1}, {"x": 2}])["x"].tolist()
    [1, 2]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return livegrad.stack(batch, 0)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise TypeError(_WRONG.format(first.dtype))
        return livegrad.stack([livegrad.as_tensor(array) for array in batch], 0)
    if isinstance(first, (np.bool_, np.number)):
        return livegrad.as_tensor(np.stack(batch))
    if isinstance(first, float):
        return livegrad.tensor(batch, dtype=livegrad.float64)
    if isinstance(first, int):
        return livegrad.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        collated = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return _like_mapping(first, collated)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(entries) for entries in zip(*batch)))
    if isinstance(first, Sequence):
        if len(set(map(len, batch))) > 1:
            raise RuntimeError("each element in list of batch should be of equal size")
        collated = [default_collate(entries) for entries in zip(*batch)]
        return collated if isinstance(first, tuple) else _like_sequence(first, collated)
    raise TypeError(_WRONG.format(type(first)))


def default_convert(data):
    """A sample as it is without batches: NumPy arrays and scalars become tensors, wherever they are inside it."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.bool_, np.number)):
        if isinstance(data, np.ndarray) and data.dtype.kind in "SUO":
            return data
        return livegrad.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(value) for value in data])
    return data


def _like_mapping(model, content):
    """``content`` in the type of ``model`` if it can be made so, else as a dictionary."""
    try:
        if isinstance(model, MutableMapping) and type(model) is not dict:
            made = copy.copy(model)
            made.update(content)
            return made
        return type(model)(content)
    except TypeError:
        return content


def _like_sequence(model, content):
    """``content`` in the type of ``model`` if it can be made so, else as a list."""
    try:
        if isinstance(model, MutableSequence) and type(model) is not list:
            made = copy.copy(model)
            for i, value in enumerate(content):
                made[i] = value
            return made
        return type(model)(content)
    except TypeError:
        return content
