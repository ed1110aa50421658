"""Inputs split over devices, and outputs brought together."""

import livegrad

__all__ = ["gather", "scatter", "scatter_kwargs"]


def scatter(inputs, target_gpus, dim=0):
    """A list with an input for each device: tensors are split along ``dim``, other things are the same for all.

    Tuples, lists and dictionaries are looked into. There are fewer than devices where a batch has fewer elements.
    """
    devices = [device_of(d) for d in target_gpus]

    def parts(x):
        if isinstance(x, livegrad.Tensor):
            return livegrad.cuda.comm.scatter(x, devices, dim=dim)
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return [type(x)(*each) for each in zip(*map(parts, x))]
        if isinstance(x, (tuple, list)) and x:
            return [type(x)(each) for each in zip(*map(parts, x))]
        if isinstance(x, dict) and x:
            return [type(x)(zip(x, each)) for each in zip(*map(parts, x.values()))]
        return [x] * len(devices)

    return parts(inputs)


def scatter_kwargs(inputs, kwargs, target_gpus, dim=0):
    """(positional inputs, named ones) for each device, as many of one kind as of the other."""
    by_place = scatter(inputs, target_gpus, dim) if inputs else []
    by_name = scatter(kwargs, target_gpus, dim) if kwargs else []
    by_place += [()] * (len(by_name) - len(by_place))
    by_name += [{}] * (len(by_place) - len(by_name))
    return tuple(by_place), tuple(by_name)


def gather(outputs, target_device, dim=0):
    """The outputs of all devices as one on ``target_device``: tensors one after the other along ``dim``.

    Tensors without dimensions are gathered into a vector. Tuples, lists and dictionaries are looked into.
    """
    first = outputs[0]
    if isinstance(first, livegrad.Tensor):
        return livegrad.cuda.comm.gather([x.reshape(1) if x.dim() == 0 else x for x in outputs], dim, target_device)
    if first is None:
        return None
    if isinstance(first, dict):
        if any(x.keys() != first.keys() for x in outputs):
            raise ValueError("All dicts must have the same keys")
        return type(first)((k, gather([x[k] for x in outputs], target_device, dim)) for k in first)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(gather(each, target_device, dim) for each in zip(*outputs)))
    if isinstance(first, (tuple, list)):
        return type(first)(gather(each, target_device, dim) for each in zip(*outputs))
    raise TypeError(f"gather() takes tensors, and tuples, lists and dictionaries of them, not {type(first).__name__}")


def device_of(d):
    """A device from its number, its name or itself."""
    return livegrad.device("cuda", d) if isinstance(d, int) else livegrad.device(d)
