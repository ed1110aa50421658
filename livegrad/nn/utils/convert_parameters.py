"""All parameters as one vector, and back."""

import livegrad
from livegrad.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _one_device(tensors):
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        raise TypeError("Found two parameters on different devices, this is currently not supported.")


def parameters_to_vector(parameters):
    """The elements of all parameters, in order, as one vector."""
    parameters = list(parameters)
    _one_device(parameters)
    return livegrad.cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec, parameters):
    """Makes consecutive pieces of a vector the data of the parameters."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    _one_device(parameters)
    start = 0
    for parameter in parameters:
        count = parameter.numel()
        parameter.data = vec[start : start + count].view_as(parameter).data
        start += count
