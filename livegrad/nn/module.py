"""Module: the base class of everything that has parameters."""

from collections import OrderedDict

from livegrad.native import hot
from livegrad.tensor import Tensor

from . import hooks, state
from .hook_registration import HookRegistration
from .hooks import GlobalHooks, registered
from .parameter import Buffer, Parameter
from .registry import Registry, shows
from .running import pop, push
from .tensors import OfAllTensors

__all__ = ["Module"]

_REGISTRIES = ("_parameters", "_buffers", "_modules")
_HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


_LIBRARY = __name__.partition(".")[0] + "."


def _is_public(value):
    """Whether it is one of the library's functions, compiled or not; methods have a dot in their names."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or isinstance(value, type):
        return False
    return f"{module}.".startswith(_LIBRARY) and name.isidentifier() and not name.startswith("_")


class Module(OfAllTensors, HookRegistration):
    """The base class of all neural network modules, and of yours.

    A subclass calls ``super().__init__()`` first, assigns parameters, buffers and other modules as attributes, and
    defines ``forward``. Assigning registers: it is how ``parameters()``, ``state_dict()`` and ``to()`` find them.

    >>> import livegrad
    >>> from livegrad import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.Parameter(livegrad.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> model = Scale()
    >>> model(livegrad.ones(3)).shape == (3,)
    True
    >>> [name for name, _ in model.named_parameters()]
    ['factor']
    """

    dump_patches = False
    call_super_init = False
    training: bool
    _version = 1  # of the layout of the state dictionary; subclasses that changed theirs raise it
    _shows_members = True  # whether parameters, buffers and children are ordinary attributes
    _hooked = False  # whether a call has to look at hooks at all: set on the instance, or here by a global hook

    def __init__(self, *args, **kwargs):
        if not self.call_super_init and (args or kwargs):
            name = type(self).__name__
            if kwargs:
                raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
            raise TypeError(f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given")
        attributes = self.__dict__
        attributes["training"] = True
        attributes["_non_persistent_buffers_set"] = set()
        attributes["_is_full_backward_hook"] = None
        for name in _REGISTRIES:
            attributes[name] = Registry(self)
        for name in _HOOKS:
            attributes[name] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # -- calling -------------------------------------------------------------------------------------------------

    @hot
    def __call__(self, *args, **kwargs):
        push(self)
        try:
            if self._hooked:
                Module._hooked = GlobalHooks.present()
                return hooks.call(self, args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            pop()

    def __init_subclass__(cls, **kwargs):
        """Keep functions that a class names, as in ``activation = torch.tanh``, from becoming its methods."""
        super().__init_subclass__(**kwargs)
        cls._shows_members = cls.__getattr__ is Module.__getattr__
        if not cls.__module__.startswith(_LIBRARY):
            for name, value in list(vars(cls).items()):
                if _is_public(value):
                    setattr(cls, name, staticmethod(value))

    def forward(self, *args, **kwargs):
        """What the module computes. Every subclass defines it; call the module, not this."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def compile(self, *args, **kwargs):
        """Does nothing: operators are fused and compiled as the module runs."""

    # -- attributes ----------------------------------------------------------------------------------------------

    def __getattr__(self, name):
        # Only reached for what is not an ordinary attribute: names that a class attribute hides are kept away by it.
        attributes = self.__dict__
        for registry in _REGISTRIES:
            members = attributes.get(registry)
            if members is not None and name in members:
                return members[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name, value):
        attributes = self.__dict__
        parameters = attributes.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, keep=parameters)
            self.register_parameter(name, value)
            return
        if parameters is None:
            if isinstance(value, Module):
                raise AttributeError("cannot assign module before Module.__init__() call")
            if isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            object.__setattr__(self, name, value)
            return
        if name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
            return
        modules = attributes["_modules"]
        if isinstance(value, Module):
            self._forget(name, keep=modules)
            self._put(modules, name, value)
            return
        if name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)"
                )
            self._put(modules, name, None)
            return
        buffers = attributes["_buffers"]
        if name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            if isinstance(value, Buffer):
                self.register_buffer(name, value, value.persistent)
            else:
                self._put(buffers, name, value)
            return
        if isinstance(value, Buffer):
            self._forget(name)
            self.register_buffer(name, value, value.persistent)
            return
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        for registry in _REGISTRIES:
            members = self.__dict__.get(registry)
            if members is not None and name in members:
                del members[name]
                self.__dict__.pop(name, None)
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def _put(self, registry, name, value):
        """Registers ``value``, and makes it an attribute even where the registry is a plain dictionary."""
        registry[name] = value
        if shows(type(self), name):
            self.__dict__[name] = value

    def _forget(self, name, keep=None):
        """Removes whatever the module knows by that name, except from the registry ``keep``."""
        attributes = self.__dict__
        for registry in _REGISTRIES:
            members = attributes[registry]
            if members is not keep:
                members.pop(name, None)
        if keep is None or name not in keep:
            attributes.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __dir__(self):
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[0].isdigit())

    # -- registering ---------------------------------------------------------------------------------------------

    def _check_name(self, kind, name, members):
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(
                f'{kind} name can\'t contain ".", got: {name}'
                if kind == "module"
                else f'{kind} name can\'t contain "."'
            )
        if name == "":
            raise KeyError(
                f'{kind} name can\'t be empty string ""'
                if kind != "module"
                else 'module name can\'t be empty string ""'
            )
        if name not in members and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name, param):
        """Adds a parameter by name; None reserves the name. What assigning a Parameter to an attribute does."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly"
                    f". To express '{name}' as a function of another Tensor, compute the value in the forward() method."
                )
        if GlobalHooks.parameters:
            param = registered(GlobalHooks.parameters, self, name, param)
        self._put(self._parameters, name, param)

    def register_buffer(self, name, tensor, persistent=True):
        """Adds a tensor that moves with the module and, if ``persistent``, is saved with it, but is not trained."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        if GlobalHooks.buffers:
            tensor = registered(GlobalHooks.buffers, self, name, tensor)
        self._put(self._buffers, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_module(self, name, module):
        """Another name of `add_module`."""
        self.add_module(name, module)

    def add_module(self, name, module):
        """Adds a child module by name; None reserves the name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        if GlobalHooks.modules:
            module = registered(GlobalHooks.modules, self, name, module)
        self._put(self._modules, name, module)

    def get_submodule(self, target):
        """The module at a dotted path such as ``"encoder.layers.0"``; ``""`` is the module itself."""
        module = self
        if target:
            for name in target.split("."):
                if not hasattr(module, name):
                    raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
                module = getattr(module, name)
                if not isinstance(module, Module):
                    raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target, module, strict=False):
        """Puts ``module`` at a dotted path, in place of the one that is there."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        parent_path, _, name = target.rpartition(".")
        parent = self.get_submodule(parent_path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _get_member(self, target, registry, what):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in getattr(module, registry):
            raise AttributeError(f"`{name}` is not {what}")
        return getattr(module, name)

    def get_parameter(self, target):
        """The parameter at a dotted path such as ``"fc.weight"``."""
        return self._get_member(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target):
        """The buffer at a dotted path such as ``"bn.running_mean"``."""
        return self._get_member(target, "_buffers", "a buffer")

    # -- walking -------------------------------------------------------------------------------------------------

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """(dotted path, module) of the module itself and of everything inside, parents first."""
        memo = set() if memo is None else memo
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            for name, child in self._modules.items():
                if child is not None:
                    yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate=True):
        """The module itself and everything inside it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self):
        """(name, module) of the modules directly inside."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self):
        """The modules directly inside."""
        for _, child in self.named_children():
            yield child

    def _named_members(self, members_of, prefix="", recurse=True, remove_duplicate=True):
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in members_of(module):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """(dotted name, parameter) of every parameter; a shared one appears once."""
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """Every parameter, as an iterator: what an optimizer is given."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """(dotted name, buffer) of every buffer."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """Every buffer, as an iterator."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # -- saving and loading --------------------------------------------------------------------------------------

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        """Every parameter and persistent buffer by dotted name, in an ordered dictionary.

        The tensors share memory with the module's, detached from the graph unless ``keep_vars``.
        """
        if args:
            destination, prefix, keep_vars = args + (destination, prefix, keep_vars)[len(args) :]
        return state.save(self, destination, prefix, keep_vars)

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copies a state dictionary into the module.

        With ``strict``, keys that are missing or unexpected raise RuntimeError; shapes that differ always do. With
        ``assign`` the given tensors take the place of the module's own. Returns (missing_keys, unexpected_keys).
        """
        return state.load(self, state_dict, strict, assign)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        state.save_one(self, destination, prefix, keep_vars)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        state.load_one(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)

    def get_extra_state(self):
        """What else to save with the module. Define it together with `set_extra_state`."""
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called.")

    def set_extra_state(self, state):
        """Takes back what `get_extra_state` returned."""
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called.")

    def __setstate__(self, saved):
        attributes = self.__dict__
        attributes.update(saved)
        for name in _REGISTRIES:
            attributes[name] = Registry(self, attributes.get(name, ()))
        for name in _HOOKS:
            attributes.setdefault(name, OrderedDict())
        attributes.setdefault("_non_persistent_buffers_set", set())
        attributes.setdefault("_is_full_backward_hook", None)

    # -- showing -------------------------------------------------------------------------------------------------

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """What the module's repr says between the brackets; subclasses define it."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indent(repr(child))}" for name, child in self._modules.items()]
        if children or len(lines) > 1:
            body = "".join(f"\n  {line}" for line in lines + children)
            return f"{self._get_name()}({body}\n)"
        return f"{self._get_name()}({extra})"


def indent(text, by=2):
    return text.replace("\n", "\n" + " " * by)


def typename(value):
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    if kind.__module__ in ("builtins", "__main__", None):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
