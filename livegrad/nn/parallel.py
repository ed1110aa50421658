"""DataParallel, for programs that wrap their model in it."""

from .module import Module

__all__ = ["DataParallel"]


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
