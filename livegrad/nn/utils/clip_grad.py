"""Clipping gradients, by their norm or by their values."""

import types

import livegrad
from livegrad.site import warn
from livegrad.tensor import Tensor

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _listed(parameters):
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _plain(tensor):
    return tensor.dtype is livegrad.float32 and tensor.device.type == "cpu"


def _sum_of_squares(tensors):
    """Of all elements, as a Python number: a kernel for each tensor, which reads it once, and nothing else."""
    total = 0.0
    for tensor in tensors:
        v = tensor._value()
        total += (v * v).sum().ready().numbers()
    return total


@livegrad.no_grad()
def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The ``norm_type`` norm of all tensors together, as if they were one vector."""
    tensors = _listed(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return livegrad.tensor(0.0)
    if norm_type == 2.0 and all(_plain(tensor) for tensor in tensors):
        total = livegrad.tensor(_sum_of_squares(tensors) ** 0.5, dtype=tensors[0].dtype)
    else:
        norms = [tensor.norm(norm_type) for tensor in tensors]
        total = norms[0] if len(norms) == 1 else livegrad.stack([n.to(norms[0].device) for n in norms]).norm(norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


@livegrad.no_grad()
def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Multiplies all gradients by max_norm / total_norm, where that is less than 1.

    The multiplication stays pending: an optimizer's kernel does it on the way.
    """
    gradients = [p.grad for p in _listed(parameters) if p.grad is not None]
    if not gradients:
        return
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    if factor.device.type != "cpu":  # reading it would wait for the device
        for gradient in gradients:
            gradient.mul_(factor.to(gradient.device))
        return
    number = factor.item()
    if number != 1.0:
        for gradient in gradients:
            gradient.mul_(number)


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales all gradients in place, so that their norm together is at most ``max_norm``; returns the norm before.

    >>> import livegrad
    >>> from livegrad import nn
    >>> p = nn.Parameter(livegrad.zeros(2))
    >>> p.grad = livegrad.tensor([3., 4.])
    >>> nn.utils.clip_grad_norm_([p], 1.0).item()
    5.0
    >>> round(p.grad.norm().item(), 4)
    1.0
    """
    generated = isinstance(parameters, types.GeneratorType)
    parameters = _listed(parameters)
    if generated and not parameters:
        warn("`parameters` is an empty generator, no gradient clipping will occur.")
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The old name of `clip_grad_norm_`."""
    warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Cuts off all gradients in place at ±clip_value."""
    clip_value = float(clip_value)
    with livegrad.no_grad():
        for parameter in _listed(parameters):
            if parameter.grad is not None:
                parameter.grad.clamp_(min=-clip_value, max=clip_value)
