"""Hooks of modules: the handle that removes one, and how a module that has any is called."""

import itertools
import weakref
from collections import OrderedDict

import livegrad
from livegrad.site import warn
from livegrad.tensor import Tensor

__all__ = ["RemovableHandle"]


class RemovableHandle:
    """Returned by every ``register_*_hook``; ``remove()``, or leaving a ``with`` block, takes the hook out again.

    ``hooks`` is the ordered dictionary that holds the hook, and ``also`` further dictionaries that hold notes about it
    under the same ``id``.
    """

    _ids = itertools.count()

    def __init__(self, hooks, *, also=()):
        self.id = next(RemovableHandle._ids)
        self._holders = tuple(weakref.ref(holder) for holder in (hooks, *also))

    def remove(self):
        for reference in self._holders:
            holder = reference()
            if holder is not None:
                holder.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()

    def __getstate__(self):
        return self.id, tuple(reference() for reference in self._holders)

    def __setstate__(self, state):
        self.id, holders = state
        self._holders = tuple(weakref.ref(OrderedDict() if holder is None else holder) for holder in holders)
        RemovableHandle._ids = itertools.count(max(next(RemovableHandle._ids), self.id + 1))


class GlobalHooks:
    """The hooks that run for every module, kept here because they belong to no module."""

    forward_pre = OrderedDict()
    forward = OrderedDict()
    forward_always = OrderedDict()
    forward_kwargs = OrderedDict()
    backward_pre = OrderedDict()
    backward = OrderedDict()
    parameters = OrderedDict()
    buffers = OrderedDict()
    modules = OrderedDict()

    @classmethod
    def present(cls):
        return bool(cls.forward_pre or cls.forward or cls.backward_pre or cls.backward)


def registered(hooks, module, name, value):
    """What a module is to have by a name, after all hooks have seen it; a hook that returns None changes nothing."""
    for hook in hooks.values():
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


CALL_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class Boundary(livegrad.autograd.Function):
    """The identity on some tensors, which tells ``notify`` about all their gradients at once in the backward pass."""

    @staticmethod
    def forward(ctx, notify, *tensors):
        ctx.notify = notify
        ctx.set_materialize_grads(False)
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx, *gradients):
        changed = ctx.notify(gradients)
        return (None, *(gradients if changed is None else changed))


class BackwardWatch:
    """Runs one call's full backward hooks: an identity is put before the module and another one after it."""

    def __init__(self, module, pre_hooks, hooks):
        self.module = module
        self.pre_hooks = pre_hooks
        self.hooks = hooks
        self.grad_output = None
        self.input_places = None
        self.input_count = 0

    def watch_inputs(self, args):
        self.input_count = len(args)
        args, self.input_places = self._watch(args, self._inputs_done)
        return args

    def watch_outputs(self, result):
        single = not isinstance(result, tuple)
        outputs = (result,) if single else result
        self.output_count = len(outputs)
        outputs, self.output_places = self._watch(outputs, self._outputs_done)
        return outputs[0] if single else outputs

    @staticmethod
    def _watch(values, notify):
        """Replaces the tensors among ``values`` by watched ones; returns the values and where those tensors are."""
        places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
        if not (livegrad.is_grad_enabled() and any(values[i].requires_grad for i in places)):
            return values, None
        watched = Boundary.apply(notify, *(values[i] for i in places))
        values = list(values)
        for place, tensor in zip(places, watched):
            values[place] = tensor
        return tuple(values), places

    def _outputs_done(self, gradients):
        grad_output = _spread(gradients, self.output_places, self.output_count)
        for hook in self.pre_hooks:
            changed = hook(self.module, grad_output)
            if changed is not None:
                grad_output = _as_tuple(changed)
                if len(grad_output) != self.output_count:
                    raise RuntimeError(
                        "Backward pre hook returned an invalid number of grad_output, "
                        f"got {len(grad_output)}, but expected {self.output_count}"
                    )
        self.grad_output = grad_output
        if self.input_places is None:  # no input needs a gradient: the hooks see None for each
            for hook in self.hooks:
                if hook(self.module, (None,) * self.input_count, grad_output) is not None:
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or "
                        "None for all gradients."
                    )
        return tuple(grad_output[i] for i in self.output_places)

    def _inputs_done(self, gradients):
        grad_input = _spread(gradients, self.input_places, self.input_count)
        for hook in self.hooks:
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None:
                grad_input = _as_tuple(changed)
                if len(grad_input) != self.input_count:
                    raise RuntimeError(
                        "Backward hook returned an invalid number of grad_input, "
                        f"got {len(grad_input)}, but expected {self.input_count}"
                    )
        self.grad_output = None
        return tuple(grad_input[i] for i in self.input_places)


def _spread(gradients, places, count):
    spread = [None] * count
    for place, gradient in zip(places, gradients):
        spread[place] = gradient
    return tuple(spread)


def _as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def call(module, args, kwargs):
    """Calls a module that has hooks: those before, ``forward``, those after."""
    if not (GlobalHooks.present() or any(module.__dict__[name] for name in CALL_HOOKS)):
        # All of them have been removed since: from now on the module is called the short way.
        module.__dict__.pop("_hooked", None)
        return module.forward(*args, **kwargs)
    always = [*GlobalHooks.forward_always, *module._forward_hooks_always_called]
    if not always:
        return _call(module, args, kwargs, None)
    done = set()
    try:
        return _call(module, args, kwargs, done)
    except Exception:
        _run_the_rest(module, args, kwargs, done)
        raise


def _call(module, args, kwargs, done):
    backward_pre = [*GlobalHooks.backward_pre.values(), *module._backward_pre_hooks.values()]
    backward = [*GlobalHooks.backward.values()]
    non_full = []
    if module._is_full_backward_hook is False:
        non_full = list(module._backward_hooks.values())
    else:
        backward += module._backward_hooks.values()

    for hook in list(GlobalHooks.forward_pre.values()):
        changed = hook(module, args)
        if changed is not None:
            args = _as_tuple(changed)
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks_with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = _as_tuple(changed)

    watch = None
    if backward_pre or backward:
        watch = BackwardWatch(module, backward_pre, backward)
        args = watch.watch_inputs(args)

    result = module.forward(*args, **kwargs)

    for key, hook, with_kwargs in _forward_hooks(module):
        if done is not None:
            done.add(key)
        changed = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        if changed is not None:
            result = changed

    if watch is not None:
        result = watch.watch_outputs(result)
    if non_full:
        _watch_last_node(module, result, non_full)
    return result


def _forward_hooks(module):
    """(key, hook, whether it takes the keyword arguments), the global ones first."""
    for key, hook in list(GlobalHooks.forward.items()):
        yield key, hook, key in GlobalHooks.forward_kwargs
    for key, hook in list(module._forward_hooks.items()):
        yield key, hook, key in module._forward_hooks_with_kwargs


def _run_the_rest(module, args, kwargs, done):
    """After an error, runs the hooks registered with ``always_call=True`` that have not run yet."""
    for key, hook, with_kwargs in _forward_hooks(module):
        if key in done or not (key in GlobalHooks.forward_always or key in module._forward_hooks_always_called):
            continue
        try:
            if with_kwargs:
                hook(module, args, kwargs, None)
            else:
                hook(module, args, None)
        except Exception as error:
            warn(f"a forward hook registered with always_call=True raised {error!r}")


def _watch_last_node(module, result, hooks):
    """The old, partial backward hooks: they see the gradients of the last operator of the module only."""
    tensor = result
    while not isinstance(tensor, Tensor):
        tensor = next(iter(tensor.values())) if isinstance(tensor, dict) else tensor[0]
    node = tensor.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(lambda grad_input, grad_output, hook=hook: hook(module, grad_input, grad_output))
