"""What users pass, as NumPy arrays."""

import numpy as np


def to_numpy(value):
    """An array from a tensor of any library, an array, a number, or nested lists of numbers."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype) or "float8" in str(value.dtype):
            value = value.float()
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype == object:
        array = np.array([to_numpy(item) for item in value])
    return array if array.dtype.kind in "biufcSU" else array.astype(np.float32)


def to_number(value):
    """One Python float."""
    array = to_numpy(value)
    if array.size != 1:
        raise ValueError(f"a scalar is one number, but the value has shape {array.shape}")
    return float(array.reshape(()))
