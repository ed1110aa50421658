"""Registering hooks on a module."""

from __future__ import annotations

import weakref

from ..native import hot
from .hooks import RemovableHandle


class HookRegistration:
    """The methods of `Module` that register hooks on one module."""

    def _add_hook(self, holder, hook, *notes, prepend=False):
        handle = RemovableHandle(holder, also=notes)
        holder[handle.id] = hook
        for note in notes:
            note[handle.id] = True
        if prepend:
            holder.move_to_end(handle.id, last=False)
        return handle

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Calls ``hook(module, args)`` before ``forward``; what it returns, unless None, replaces the arguments.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)``, and returns None or (args, kwargs).
        """
        self.__dict__["_hooked"] = True
        notes = [self._forward_pre_hooks_with_kwargs] if with_kwargs else []
        return self._add_hook(self._forward_pre_hooks, hook, *notes, prepend=prepend)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Calls ``hook(module, args, output)`` after ``forward``; what it returns, unless None, replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``. ``always_call``: it runs after errors too.
        """
        self.__dict__["_hooked"] = True
        notes = [self._forward_hooks_with_kwargs] if with_kwargs else []
        if always_call:
            notes.append(self._forward_hooks_always_called)
        return self._add_hook(self._forward_hooks, hook, *notes, prepend=prepend)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Calls ``hook(module, grad_output)`` once the gradients of the outputs are known; it may replace them."""
        self.__dict__["_hooked"] = True
        return self._add_hook(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Calls ``hook(module, grad_input, grad_output)`` once the gradients of the inputs are known.

        What it returns, unless None, replaces ``grad_input``.
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. "
                "Please use only one of them."
            )
        self._is_full_backward_hook = True
        self.__dict__["_hooked"] = True
        return self._add_hook(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook):
        """The old form, which sees the module's last operator only. Use `register_full_backward_hook`."""
        if self._is_full_backward_hook is True:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. "
                "Please use only one of them."
            )
        self._is_full_backward_hook = False
        self.__dict__["_hooked"] = True
        return self._add_hook(self._backward_hooks, hook)

    def register_state_dict_pre_hook(self, hook):
        """Calls ``hook(module, prefix, keep_vars)`` before `state_dict` collects."""
        return self._add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook):
        """Calls ``hook(module, state_dict, prefix, metadata)`` after `state_dict` has collected; returns None."""
        hook._from_public_api = True
        return self._add_hook(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook):
        return self._add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook):
        """Calls ``hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)`` before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):
        if with_module:
            hook = _WithModule(hook, self)
        return self._add_hook(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook):
        """Calls ``hook(module, incompatible_keys)`` after loading; it may change the two lists in place."""
        return self._add_hook(self._load_state_dict_post_hooks, hook)


class _WithModule:
    """A load hook that is given its module first; the module is held weakly, as it holds the hook."""

    def __init__(self, hook, module):
        self.hook = hook
        self.module = weakref.ref(module)

    @hot
    def __call__(self, *args):
        return self.hook(self.module(), *args)

    def __reduce__(self):
        return _WithModule, (self.hook, self.module())
