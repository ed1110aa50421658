"""What changes all tensors of a module: moving, casting, training and evaluation, gradients."""

from __future__ import annotations

import itertools

import livegrad

from ..tensor import Tensor
from .parameter import Parameter


class OfAllTensors:
    """The methods of `Module` that change all its tensors."""

    def _apply(self, fn, recurse=True):
        if recurse:
            for child in self.children():
                child._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            with livegrad.no_grad():
                made = fn(parameter.detach())
                if (made.device.type == "meta") is (parameter.device.type == "meta"):
                    parameter.data = made
                else:  # whoever else holds the parameter keeps its numbers, or goes on without
                    made, before = Parameter(made, parameter.requires_grad), parameter
                    made.grad = before.grad
                    self._put(self._parameters, name, made)
                    parameter = made
                if parameter.grad is not None:
                    changed = fn(parameter.grad.detach())
                    changed.requires_grad = parameter.grad.requires_grad
                    parameter.grad = changed
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._put(self._buffers, name, fn(buffer))
        return self

    def apply(self, fn):
        """Calls ``fn(module)`` for every module inside, children first, then for the module itself."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, *args, **kwargs):
        """Moves or casts all parameters and buffers: ``to(device)``, ``to(dtype)``, both, or ``to(tensor)``.

        Only floating-point and complex tensors change their dtype. The module itself is changed, and returned.
        A memory format changes nothing: kernels read parameters row by row.
        """
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def move(tensor):
            options = {}
            if device is not None:
                options["device"] = device
            if dtype is not None and (tensor.is_floating_point() or tensor.is_complex()):
                options["dtype"] = dtype
            return tensor.to(non_blocking=non_blocking, **options) if options else tensor

        return self._apply(move)

    def _cast(self, dtype):
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self):
        """All floating-point parameters and buffers as float32."""
        return self._cast(livegrad.float32)

    def double(self):
        """All floating-point parameters and buffers as float64."""
        return self._cast(livegrad.float64)

    def half(self):
        """All floating-point parameters and buffers as float16."""
        return self._cast(livegrad.float16)

    def bfloat16(self):
        """All floating-point parameters and buffers as bfloat16."""
        return self._cast(livegrad.bfloat16)

    def type(self, dst_type):
        """All parameters and buffers as ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def cpu(self):
        """All parameters and buffers on the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device=None):
        """All parameters and buffers on a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def to_empty(self, *, device, recurse=True):
        """Moves to a device without copying: the tensors there are uninitialised."""
        return self._apply(lambda t: livegrad.empty_like(t, device=device), recurse=recurse)

    def share_memory(self):
        """Puts all tensors into memory that other processes can share."""
        return self._apply(lambda t: t.share_memory_())

    def train(self, mode=True):
        """Sets training mode (or evaluation mode) here and in everything inside: dropout and batch norm look at it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self):
        """Sets evaluation mode: the same as ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Sets whether the parameters collect gradients: ``requires_grad_(False)`` freezes a module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Forgets all gradients, or with ``set_to_none=False`` fills them with zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                if set_to_none:
                    parameter.grad = None
                else:
                    if parameter.grad.grad_fn is not None:
                        parameter.grad = parameter.grad.detach()
                    else:
                        parameter.grad.requires_grad_(False)
                    parameter.grad.zero_()


def _parse_to(*args, device=None, dtype=None, non_blocking=False, copy=False, memory_format=None, tensor=None):
    """(device, dtype, non_blocking) from any of the forms that ``to`` accepts."""
    if tensor is not None:
        args = (tensor, *args)
    places = itertools.count()
    for place, value in zip(places, args):
        if isinstance(value, Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, livegrad.dtype):
            dtype = value
        elif isinstance(value, bool):
            non_blocking = value
        elif isinstance(value, (str, int, livegrad.device)):
            device = value
        elif value is not None:
            raise TypeError(f"to() received an invalid argument at position {place}: {value!r}")
    return device, dtype, non_blocking
