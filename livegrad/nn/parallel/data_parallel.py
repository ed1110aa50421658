"""DataParallel: a model on several devices of one process.

`scatter`, `replicate`, `parallel_apply` and `gather` are the steps of DataParallel. Copies between devices are
recorded, so a backward pass adds the gradients of all replicas to those of the original.
"""

import livegrad

from ..module import Module
from ..registry import Registry
from .scatter_gather import device_of, gather, scatter_kwargs

__all__ = ["DataParallel", "data_parallel", "parallel_apply", "replicate"]


def replicate(network, devices, detach=False):
    """A copy of a module for each device, with its parameters there as tensors that lead back to the originals.

    Where a tensor is on a device already it is not copied, so that what the first replica writes into buffers stays.
    """
    return [_replica(network, device_of(d), detach) for d in devices]


def _replica(network, device, detach):
    made = {}
    for module in network.modules():
        copy = made[module] = object.__new__(type(module))
        copy.__dict__.update(module.__dict__)
        for name in ("_parameters", "_buffers", "_modules"):
            copy.__dict__[name] = Registry(copy)
    for module, copy in made.items():
        for name, child in module._modules.items():
            copy._put(copy._modules, name, None if child is None else made[child])
        for name, p in module._parameters.items():
            copy._put(copy._parameters, name, None if p is None else (p.detach() if detach else p).to(device))
        for name, b in module._buffers.items():
            copy._put(copy._buffers, name, None if b is None else b.to(device))
    return made[network]


def parallel_apply(modules, inputs, kwargs_tup=None, devices=None):
    """What each module makes of its inputs, on its device. One after the other is started, without waiting for it."""
    named = kwargs_tup or [{}] * len(modules)
    places = [None] * len(modules) if devices is None else devices
    if not len(modules) == len(inputs) == len(named) == len(places):
        raise AssertionError(
            f"{len(modules)} modules, {len(inputs)} inputs, {len(named)} named inputs, {len(places)} devices"
        )
    found = []
    for module, given, names, place in zip(modules, inputs, named, places):
        with livegrad.cuda.device(None if place is None else device_of(place)):
            found.append(module(*(given if isinstance(given, (tuple, list)) else (given,)), **names))
    return found


class DataParallel(Module):
    """Runs ``module`` on several CUDA devices: each gets a part of the batch and a copy of the module.

    device_ids: all devices unless given; the module has to be on the first. Results are gathered on ``output_device``,
    the first unless given, and gradients are added up in the module's own parameters. On one device, and without any,
    the module runs on the whole batch. The wrapped module's names begin with ``module.``.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.dim = dim
        self.module = module
        if device_ids is None:
            device_ids = range(livegrad.cuda.device_count())
        self.device_ids = [device_of(d).index or 0 for d in device_ids]
        self.output_device = output_device
        if output_device is None and self.device_ids:
            self.output_device = self.device_ids[0]

    def forward(self, *inputs, **kwargs):
        return data_parallel(self.module, inputs, self.device_ids, self.output_device, self.dim, kwargs)


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """``DataParallel`` as a function: what the module makes of the inputs, on several devices.

    Raises RuntimeError where the module is not on the first of them.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    kwargs = module_kwargs or {}
    if device_ids is None:
        device_ids = range(livegrad.cuda.device_count())
    devices = [device_of(d) for d in device_ids]
    if not devices:
        return module(*inputs, **kwargs)
    first = devices[0]
    for t in (*module.parameters(), *module.buffers()):
        if t.device is not first:
            raise RuntimeError(
                f"module must have its parameters and buffers on device {first} (device_ids[0]) but found one of them "
                f"on device: {t.device}"
            )
    parts, named = scatter_kwargs(inputs, kwargs, devices, dim)
    parts, named = parts or ((),), named or ({},)
    if len(devices) == 1:
        return module(*parts[0], **named[0])
    devices = devices[: len(parts)]
    found = parallel_apply(replicate(module, devices), parts, named, devices)
    return gather(found, first if output_device is None else device_of(output_device), dim)
