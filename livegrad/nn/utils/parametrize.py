"""Parametrizations: a parameter that is computed from others whenever it is read.

Modules that compute it hang in a list beside the module, `module.parametrizations.weight`, which also holds what they
start from: `original`, or `original0`, `original1`, … where they start from several tensors.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import livegrad
from livegrad import Tensor

from ..module import Module
from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]


class _Cache:
    """What has been computed within `cached()`, by module and name, and how many of those blocks are open."""

    def __init__(self) -> None:
        self.open = 0
        self.tensors: dict[tuple[int, str], Tensor] = {}


_CACHE = _Cache()


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Within this block each parametrized tensor is computed once, however often it is read."""
    _CACHE.open += 1
    try:
        yield
    finally:
        _CACHE.open -= 1
        if not _CACHE.open:
            _CACHE.tensors.clear()


def _replace(tensor: Tensor, value: Tensor) -> None:
    """Give a parameter or buffer a new value, of any shape; it stays the object that an optimizer knows."""
    tensor.data = value.detach().clone() if value is tensor else value.detach()


class ParametrizationList(ModuleList):
    """The modules that compute one tensor, first to last, and what they start from.

    modules: the parametrizations. original: the parameter or buffer whose place they take. Where they have a
    `right_inverse`, it finds out what gives the tensor as it is now. unsafe: skip the check that shape and dtype stay.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False):
        modules = list(modules)
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        start = self._inverted(original)
        self.is_tensor = isinstance(start, Tensor)
        if self.is_tensor:
            if start.dtype != dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {dtype}\nright_inverse(original).dtype: {start.dtype}"
                )
            with livegrad.no_grad():
                _replace(original, start)
            self._register("original", original)
        else:
            self.ntensors = len(start)
            for i, each in enumerate(start):
                if not isinstance(each, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors "
                        f"(list, tuple...). Got element {i} of the sequence with type {type(each).__name__}."
                    )
                each = each.detach().clone()
                if isinstance(original, Parameter):
                    each = Parameter(each, original.requires_grad)
                self._register(f"original{i}", each.requires_grad_(original.requires_grad))
        if not unsafe:
            made = self()
            if not isinstance(made, Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {type(made).__name__}.")
            if made.dtype != dtype or made.shape != shape:
                what, before, after = (
                    ("dtype", dtype, made.dtype) if made.dtype != dtype else ("shape", shape, made.shape)
                )
                raise ValueError(
                    f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized {what}: {before}\nparametrized {what}: {after}"
                )

    def _register(self, name: str, tensor: Tensor) -> None:
        if isinstance(tensor, Parameter):
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor)

    def _inverted(self, value: Any) -> Any:
        """What the modules make `value` of."""
        with livegrad.no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):
                        value = module.right_inverse(value)
        if not isinstance(value, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(value).__name__}"
            )
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Set what the modules start from so that they compute `value`: what assigning to the tensor does.

        Raises RuntimeError where a module has no `right_inverse`.
        """
        for module in self:
            if not hasattr(module, "right_inverse"):
                raise RuntimeError(
                    f"parametrization {type(module).__name__} does not implement right_inverse: the tensor cannot be "
                    "assigned to"
                )
        start = self._inverted(value)
        with livegrad.no_grad():
            for tensor, each in zip(self._originals(), [start] if self.is_tensor else start):
                _replace(tensor, each)

    def _originals(self) -> list:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def forward(self) -> Tensor:
        modules = list(self)
        x = modules[0](*self._originals())
        for module in modules[1:]:
            x = module(x)
        return x


def _forbid_pickling(self: Module) -> None:
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). Save that, and load it into a "
        "module on which the same parametrizations are registered."
    )


def _deepcopy(self: Module, memo: dict) -> Module:
    """A copy with a class of its own, so that removing its parametrizations leaves this module alone."""
    plain: Any = object.__new__(type_before_parametrizations(self))
    plain.__dict__.update(self.__dict__)
    made = memo[id(self)] = copy.deepcopy(plain, memo)
    _own_class(made)
    for name in made.parametrizations:
        setattr(type(made), name, _property(name))
    return made


def _own_class(module: Module) -> None:
    """Give the module a class of its own, where properties can be put."""
    base = type(module)
    body = {"__getstate__": _forbid_pickling, "__deepcopy__": _deepcopy, "__module__": base.__module__}
    module.__class__ = type(f"Parametrized{base.__name__}", (base,), body)


def _property(name: str) -> property:
    def read(self: Module) -> Tensor:
        if not _CACHE.open:
            return self.parametrizations[name]()
        key = id(self), name
        if key not in _CACHE.tensors:
            _CACHE.tensors[key] = self.parametrizations[name]()
        return _CACHE.tensors[key]

    def write(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer of a module by `parametrization` whenever it is read; returns the module.

    The tensor as it was becomes ``module.parametrizations.NAME.original``, after the parametrization's `right_inverse`
    if it has one. A second registration computes from what the first one makes.

    Raises ValueError where there is no such tensor, or the parametrization changes shape or dtype and not `unsafe`.

    >>> import livegrad
    >>> from livegrad.nn.utils import parametrize
    >>> class Symmetric(livegrad.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = parametrize.register_parametrization(livegrad.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        found = module.parametrizations[tensor_name]
        if not unsafe:
            before = getattr(module, tensor_name)
            after = parametrization(before)
            if not isinstance(after, Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
            for what in ("dtype", "shape"):
                if getattr(before, what) != getattr(after, what):
                    raise ValueError(
                        f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag "
                        f"is enabled.\n{what}: {getattr(before, what)}\nparametrized: {getattr(after, what)}"
                    )
        if hasattr(parametrization, "right_inverse"):
            value = getattr(module, tensor_name).detach()
            with livegrad.no_grad():
                value = parametrization.right_inverse(value)
            found.right_inverse(value)
        found.append(parametrization)
        found.unsafe = found.unsafe or unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = module._parameters.get(tensor_name)
        if original is None:
            original = module._buffers[tensor_name]
        found = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _own_class(module)
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property(tensor_name))
        module.parametrizations[tensor_name] = found
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element '{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has a parametrization: any, or one of the named tensor."""
    lists = module._modules.get("parametrizations")
    if not isinstance(lists, ModuleDict):
        return False
    return len(lists) > 0 if tensor_name is None else tensor_name in lists


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Take all parametrizations of a tensor away; returns the module.

    leave_parametrized: the tensor keeps the value that they computed; else that of the original, if there is one.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    found = module.parametrizations[tensor_name]
    if found.is_tensor:
        tensor = found.original
        if leave_parametrized:
            with livegrad.no_grad():
                _replace(tensor, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        tensor = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in "
                         "terms of a sequence of tensors.")  # fmt: skip
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if isinstance(tensor, Parameter):
        module.register_parameter(tensor_name, tensor)
    else:
        module.register_buffer(tensor_name, tensor)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that a module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Register one module's parametrizations on another as well, with copies of what they start from."""
    if not is_parametrized(from_module):
        return to_module
    names = from_module.parametrizations if tensor_name is None else [tensor_name]
    for name in list(names):
        source = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization, unsafe=True)
        for mine, theirs in zip(to_module.parametrizations[name]._originals(), source._originals()):
            _replace(mine, theirs.clone())
    return to_module
