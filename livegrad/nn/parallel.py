"""DataParallel and DistributedDataParallel, for programs that wrap their model in them."""

from contextlib import contextmanager

import livegrad.distributed

from .module import Module

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]


class DataParallel(Module):
    """Runs ``module`` on the whole batch, on the device where it is; the batch is not split between devices.

    The results are those of splitting it. The wrapped module's names begin with ``module.``, as programs expect.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.dim = dim
        self.module = module
        self.device_ids = list(device_ids) if device_ids is not None else []
        self.output_device = output_device

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """The module of the whole batch, on the device where it is."""
    return module(*(inputs if isinstance(inputs, tuple) else (inputs,)), **(module_kwargs or {}))


class DistributedDataParallel(Module):
    """Runs ``module``, whose gradients are averaged over the processes of a group: over the one that there is.

    ValueError before `distributed.init_process_group`; RuntimeError for a module without parameters to train.

    >>> import livegrad
    >>> livegrad.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> model = livegrad.nn.parallel.DistributedDataParallel(livegrad.nn.Linear(2, 1))
    >>> [name for name, _ in model.named_parameters()]
    ['module.weight', 'module.bias']
    >>> livegrad.distributed.destroy_process_group()
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0, broadcast_buffers=True, process_group=None,
                 **options):  # fmt: skip
        super().__init__()
        livegrad.distributed.get_world_size(process_group)
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a "
                "gradient."
            )
        self.dim = dim
        self.module = module
        self.device_ids = device_ids
        self.output_device = output_device
        self.broadcast_buffers = broadcast_buffers
        self.process_group = process_group

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)

    @contextmanager
    def no_sync(self):
        """Gradients inside are added up without being exchanged, as they are outside."""
        yield
