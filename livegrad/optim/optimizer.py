"""Optimizer: what all optimizers share."""

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from copy import deepcopy

import livegrad
from livegrad.autograd.mode import _Switch
from livegrad.native import hot
from livegrad.nn.hooks import RemovableHandle
from livegrad.observe import WATCH
from livegrad.ops.updates import Changes
from livegrad.site import warn
from livegrad.sparse import SparseTensor
from livegrad.tensor import Tensor

from . import formulas  # noqa: F401 - declares the operators that the optimizers use

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

_global_pre_hooks: OrderedDict = OrderedDict()
_global_post_hooks: OrderedDict = OrderedDict()


class _Required:
    def __repr__(self):
        return "<required parameter>"


required = _Required()  # the default of an option that every parameter group has to state


def register_optimizer_step_pre_hook(hook):
    """Calls ``hook(optimizer, args, kwargs)`` before the step of every optimizer."""
    return _added(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Calls ``hook(optimizer, args, kwargs)`` after the step of every optimizer."""
    return _added(_global_post_hooks, hook)


def _added(hooks, hook, prepend=False):
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _with_hooks(step):
    """``step`` with its hooks around it, and a note that it has run, which learning-rate schedules look at."""

    @functools.wraps(step)
    @hot
    def wrapped(self, *args, **kwargs):
        if WATCH.observer is not None:
            return _observed(step, self, args, kwargs)
        return _hooked(step, self, args, kwargs)

    wrapped.hooked = True
    return wrapped


@hot
def _hooked(step, self, args, kwargs):
    self._opt_called = True
    if not (
        self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks or _global_pre_hooks or _global_post_hooks
    ):
        return step(self, *args, **kwargs)
    for hook in [*_global_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()]:
        changed = hook(self, args, kwargs)
        if changed is not None:
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}.")
            args, kwargs = changed
    result = step(self, *args, **kwargs)
    for hook in [*self._optimizer_step_post_hooks.values(), *_global_post_hooks.values()]:
        hook(self, args, kwargs)
    return result


def _observed(step, self, args, kwargs):
    """The same while a profile is made, in which it has a name."""
    observer = WATCH.observer
    token = observer.range(f"Optimizer.step#{type(self).__name__}.step")
    try:
        return _hooked(step, self, args, kwargs)
    finally:
        observer.end(token, "")


@hot
def scalar(value):
    """An option as a Python number: learning rates and betas may be given as tensors."""
    return value if isinstance(value, (float, int)) else float(value)


class Optimizer:
    """The base class of all optimizers.

    ``params`` is an iterable of tensors, of (name, tensor), or of dictionaries, each a group with its own options:
    ``{"params": [...], "lr": 0.1}``. ``defaults`` are the options of the groups that do not state their own. A subclass
    defines `step`, and keeps what it has to remember about a parameter in ``self.state[parameter]``.

    The optimizers here define `_update` instead, which changes the parameters of one group.
    """

    _numbers: tuple[
        str, ...
    ] = ()  # the entries of a parameter's state that are kept as Python numbers, and saved as 0-dim tensors

    def __init__(self, params, defaults):
        self.defaults = defaults
        self._set_up()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + params.type()
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(dict(group))

    def _patch_step_function(self):
        """Put hooks around the step of an optimizer's class.

        A class gets them when the first of its optimizers is made, and not where it is defined: one that wraps another
        optimizer, and never calls `Optimizer.__init__`, has no hooks of its own unless it calls this.
        """
        kind = type(self)
        if not getattr(kind.step, "hooked", False):
            kind.step = _with_hooks(kind.step)

    def _set_up(self):
        """What is not saved: hooks, and whether a step has been made."""
        self._patch_step_function()
        self._opt_called = False
        self._optimizer_step_pre_hooks = OrderedDict()
        self._optimizer_step_post_hooks = OrderedDict()
        self._optimizer_state_dict_pre_hooks = OrderedDict()
        self._optimizer_state_dict_post_hooks = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks = OrderedDict()
        self._optimizer_load_state_dict_post_hooks = OrderedDict()

    def __getstate__(self):
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state):
        if "_opt_called" not in self.__dict__:
            self._set_up()
        self.__dict__.update(state)

    def __repr__(self):
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
        return text + ")"

    # -- stepping ------------------------------------------------------------------------------------------------

    @_with_hooks
    @hot
    def step(self, closure=None):
        """Changes all parameters by their gradients, once.

        ``closure``, where given, is called first, with gradients on: it recomputes and returns the loss, and so does
        this method.
        """
        loss = None
        if closure is not None:
            with livegrad.enable_grad():
                loss = closure()
        changes = Changes()
        with _Switch(False):
            try:
                dense = self._made_dense() if SparseTensor.among_gradients else None
                for group in self.param_groups:
                    self._update(group, changes)
            finally:
                changes.finish()
        if dense:
            for param, gradient in dense:
                param.grad = gradient
        return loss

    takes_sparse = False  # whether its steps are the same for a sparse gradient as for a dense one
    decays_sparse = True  # whether also with weight decay

    def _made_dense(self):
        """Parameters with a sparse gradient, and that: meanwhile they have a dense one.

        Raises RuntimeError where sparse gradients are not taken.
        """
        found = []
        for group in self.param_groups:
            for param in group["params"]:
                gradient = param.grad
                if gradient is None or not gradient.is_sparse:
                    continue
                if not self.takes_sparse:
                    name = next(c.__name__ for c in type(self).__mro__[::-1] if c not in (object, Optimizer))
                    hint = ", please consider SparseAdam instead" if name == "Adam" else ""
                    raise RuntimeError(f"{name} does not support sparse gradients{hint}")
                if not self.decays_sparse and group["weight_decay"]:
                    raise RuntimeError("weight_decay option is not compatible with sparse gradients")
                found.append((param, gradient))
        for param, gradient in found:
            param.grad = gradient.to_dense()
        return found

    def _update(self, group, changes):
        """Changes the parameters of a group, by ``changes.apply``."""
        raise NotImplementedError

    def _started(self, group, *zeros, **numbers):
        """(parameter, gradient, state) of every parameter that has a gradient, one more step counted.

        A state begins with ``numbers``, and with zeros like the parameter under the names ``zeros``.
        """
        for param in group["params"]:
            gradient = param.grad
            if gradient is None:
                continue
            state = self.state[param]
            if not state:
                state.update({"step": 0.0, **numbers, **{name: livegrad.zeros_like(param) for name in zeros}})
            state["step"] = float(state["step"]) + 1.0
            yield param, gradient, state

    @hot
    def zero_grad(self, set_to_none=True):
        """Forgets the gradients of all parameters, or with ``set_to_none=False`` fills them with zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                if set_to_none:
                    parameter.grad = None
                    continue
                if gradient.grad_fn is not None:
                    gradient = parameter.grad = gradient.detach()
                else:
                    gradient.requires_grad_(False)
                gradient.zero_()

    # -- parameter groups ----------------------------------------------------------------------------------------

    def add_param_group(self, param_group):
        """Adds a group: a dictionary with ``"params"`` and the options that differ from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        params = list(params)
        named = [isinstance(param, tuple) for param in params]
        if any(named):
            if not all(named):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            rest = {key: value for key, value in param_group.items() if key != "params"}
            names = [name for name, _ in params]
            params = [param for _, param in params]
            param_group.clear()
            param_group.update(params=params, param_names=names, **rest)
        param_group["params"] = params
        with_names = "param_names" in param_group
        if self.param_groups and with_names != ("param_names" in self.param_groups[0]):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if with_names else 'without'} names to the optimizer"
            )
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(param).__qualname__}"
                )
            if not (self.defaults.get("differentiable") or param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        ids = {id(param) for param in params}
        if len(ids) != len(params):
            warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
            )
        if any(id(param) in ids for group in self.param_groups for param in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # -- saving and loading --------------------------------------------------------------------------------------

    def state_dict(self):
        """``{"state": {number: state}, "param_groups": [options]}``, where parameters are numbered in order."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {
            (numbers[id(key)] if isinstance(key, Tensor) else key): self._saved(value)
            for key, value in self.state.items()
        }
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def _saved(self, state):
        """One parameter's state as it is saved: the numbers as tensors."""
        if not self._numbers or not isinstance(state, dict):
            return state
        return {
            key: livegrad.tensor(float(value), dtype=livegrad.float32)
            if key in self._numbers and isinstance(value, (float, int))
            else value
            for key, value in state.items()
        }

    def load_state_dict(self, state_dict):
        """Takes back what `state_dict` gave. The groups must have as many parameters, in the same order."""
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved_groups = deepcopy(state_dict["param_groups"])
        if len(saved_groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        pairs = list(zip(self.param_groups, saved_groups))
        if any(len(group["params"]) != len(saved["params"]) for group, saved in pairs):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        params = {}
        groups = []
        for group, saved in pairs:
            params.update(zip(saved["params"], group["params"]))
            loaded = {**saved, "params": group["params"]}
            if "param_names" in group and "param_names" not in loaded:
                loaded["param_names"] = group["param_names"]
            for name, default in self.defaults.items():
                loaded.setdefault(name, default)
            groups.append(loaded)
        state = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                state[params[key]] = self._loaded(params[key], value)
            else:
                state[key] = value
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _loaded(self, param, value, key=None):
        """A saved value on the parameter's device and, except for counts, in its dtype."""
        if isinstance(value, Tensor):
            if key in self._numbers:
                return float(value)
            if key == "step":
                return value.clone()
            if param.is_floating_point():
                return value.to(device=param.device, dtype=param.dtype).clone()
            return value.to(device=param.device).clone()
        if isinstance(value, dict):
            return {name: self._loaded(param, item, name) for name, item in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
            return type(value)(self._loaded(param, item) for item in value)
        return value

    # -- hooks ---------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook):
        """Calls ``hook(optimizer, args, kwargs)`` before every step; it may return new (args, kwargs)."""
        return _added(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Calls ``hook(optimizer, args, kwargs)`` after every step."""
        return _added(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer)`` before `state_dict`."""
        return _added(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer, state_dict)`` after `state_dict`; it may return another one."""
        return _added(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer, state_dict)`` before `load_state_dict`; it may return another one."""
        return _added(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend=False):
        """Calls ``hook(optimizer)`` after `load_state_dict`."""
        return _added(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def check_options(lr=None, betas=None, eps=None, **others):
    """ValueError for options below zero, betas outside [0, 1), and learning rates that are not one number."""
    if lr is not None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
    if eps is not None and not eps >= 0.0:
        raise ValueError(f"Invalid epsilon value: {eps}")
    for name, value in others.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}")
    for i, beta in enumerate(betas or ()):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_modes(foreach, fused=None):
    """The two modes are accepted and change nothing here, except that they exclude one another."""
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
