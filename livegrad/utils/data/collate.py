"""Making one batch of a list of samples."""

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

import livegrad
from livegrad.tensor import Tensor

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

_WRONG = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def default_collate(batch):
    """A list of samples as one batch, with a new first dimension.

    Tensors and NumPy arrays are stacked, numbers become a tensor, strings stay a list; tuples, lists and dictionaries
    are collated entry by entry. TypeError for anything else. What is entered in `default_collate_fn_map` for a type,
    or a tuple of types, collates samples of it.

    >>> from livegrad.utils.data import default_collate
    >>> default_collate([{"x": 1}, {"x": 2}])["x"].tolist()
    [1, 2]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def collate(batch, *, collate_fn_map=None):
    """A list of samples as one batch: by what the map has for their type, or else entry by entry.

    collate_fn_map: from types, or tuples of types, to functions of a list of such samples, which are given the map by
    the same name. A type that is in the map is looked for before those that samples are instances of.

    >>> from livegrad.utils.data._utils.collate import collate
    >>> collate([(1, "a"), (2, "b")], collate_fn_map={(int, str): lambda batch, collate_fn_map: batch})
    [(1, 2), ('a', 'b')]
    """
    first = batch[0]
    functions = {} if collate_fn_map is None else collate_fn_map
    function = functions.get(type(first))
    if function is None:
        function = next((f for known, f in functions.items() if isinstance(first, known)), None)
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        collated = {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in first}
        return _like_mapping(first, collated)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(collate(entries, collate_fn_map=collate_fn_map) for entries in zip(*batch)))
    if isinstance(first, Sequence):
        if len(set(map(len, batch))) > 1:
            raise RuntimeError("each element in list of batch should be of equal size")
        collated = [collate(entries, collate_fn_map=collate_fn_map) for entries in zip(*batch)]
        return collated if isinstance(first, tuple) else _like_sequence(first, collated)
    raise TypeError(_WRONG.format(type(first)))


def collate_tensor_fn(batch, *, collate_fn_map=None):
    """Tensors, stacked."""
    return livegrad.stack(batch, 0)


def collate_numpy_array_fn(batch, *, collate_fn_map=None):
    """NumPy arrays as tensors, stacked."""
    if batch[0].dtype.kind in "SUO":
        raise TypeError(_WRONG.format(batch[0].dtype))
    return livegrad.stack([livegrad.as_tensor(array) for array in batch], 0)


def collate_numpy_scalar_fn(batch, *, collate_fn_map=None):
    """NumPy's numbers as one tensor."""
    return livegrad.as_tensor(np.stack(batch))


def collate_float_fn(batch, *, collate_fn_map=None):
    """Floats as one tensor of float64."""
    return livegrad.tensor(batch, dtype=livegrad.float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    """Integers as one tensor."""
    return livegrad.tensor(batch)


def collate_str_fn(batch, *, collate_fn_map=None):
    """Texts, as they are."""
    return batch


default_collate_fn_map = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


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
