"""Hooks of all modules: before and after their calls, in their backward passes, and where they get what they have."""

from .hooks import GlobalHooks, RemovableHandle
from .module import Module

__all__ = [
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def _added(holder, hook, *notes):
    handle = RemovableHandle(holder, also=notes)
    holder[handle.id] = hook
    for note in notes:
        note[handle.id] = True
    return handle


def _at_calls(holder, hook, *notes):
    Module._hooked = True
    return _added(holder, hook, *notes)


def register_module_forward_pre_hook(hook):
    """Calls ``hook(module, args)`` before the forward of every module."""
    return _at_calls(GlobalHooks.forward_pre, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Calls ``hook(module, args, output)`` after the forward of every module."""
    notes = [GlobalHooks.forward_kwargs] if with_kwargs else []
    if always_call:
        notes.append(GlobalHooks.forward_always)
    return _at_calls(GlobalHooks.forward, hook, *notes)


def register_module_full_backward_pre_hook(hook):
    """Calls ``hook(module, grad_output)`` in the backward pass of every module."""
    return _at_calls(GlobalHooks.backward_pre, hook)


def register_module_full_backward_hook(hook):
    """Calls ``hook(module, grad_input, grad_output)`` in the backward pass of every module."""
    return _at_calls(GlobalHooks.backward, hook)


def register_module_parameter_registration_hook(hook):
    """Calls ``hook(module, name, parameter)`` where any module gets a parameter; what it returns is taken instead.

    >>> import livegrad
    >>> from livegrad.nn.modules.module import register_module_parameter_registration_hook
    >>> names = []
    >>> with register_module_parameter_registration_hook(lambda module, name, parameter: names.append(name)):
    ...     layer = livegrad.nn.Linear(2, 3)
    >>> names
    ['weight', 'bias']
    """
    return _added(GlobalHooks.parameters, hook)


def register_module_buffer_registration_hook(hook):
    """Calls ``hook(module, name, buffer)`` where any module gets a buffer; what it returns is taken instead."""
    return _added(GlobalHooks.buffers, hook)


def register_module_module_registration_hook(hook):
    """Calls ``hook(module, name, child)`` where any module gets a child; what it returns is taken instead."""
    return _added(GlobalHooks.modules, hook)
