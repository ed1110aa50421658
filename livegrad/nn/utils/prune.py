"""Pruning: a parameter times a mask that is kept beside it.

Pruning ``weight`` turns it into the parameter ``weight_orig``, the buffer ``weight_mask`` and their product, put
together before each call. `remove` makes it permanent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

import livegrad
from livegrad import Tensor

from ..module import Module

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


class BasePruningMethod(ABC):
    """A way to choose what is pruned. A subclass defines `compute_mask`, and may define `PRUNING_TYPE`:
    "unstructured" (single elements), "structured" (whole slices) or "global" (elements of several parameters)."""

    PRUNING_TYPE = "unstructured"
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        """The hook before each call: put the pruned tensor together."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """A mask of t's shape: 0 where an element is pruned, and wherever `default_mask` is 0."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask."""
        name = getattr(self, "_tensor_name", None)
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, name + "_orig")
        return getattr(module, name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune a parameter of a module, on top of what is pruned already; returns the hook.

        importance_scores: numbers of the parameter's shape that decide in its place.
        """
        method = cls(*args, **kwargs)
        method._tensor_name = name
        before = _hook_of(module, name)
        if before is not None:
            key, hook = before
            del module._forward_pre_hooks[key]
            container = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
            container.add_pruning_method(method)
            method = container
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}: got "
                f"{list(scores.shape)}, expected {list(original.shape)}"
            )
        if before is None:
            parameter = module._parameters[name]
            default = livegrad.ones_like(original)
            del module._parameters[name]
            module.register_parameter(name + "_orig", parameter)
        else:
            default = getattr(module, name + "_mask").detach().clone()
        try:
            with livegrad.no_grad():
                mask = method.compute_mask(scores, default_mask=default)
        except Exception:
            if before is None:  # leave everything as it was
                del module._parameters[name + "_orig"]
                module.register_parameter(name, parameter)
            raise
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A pruned copy of a tensor."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        default = livegrad.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=default)

    def remove(self, module: Module) -> None:
        """Make the pruning permanent: the product becomes the parameter."""
        name = self._tensor_name
        value = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters[name + "_orig"]
        original.data = value.data
        del module._parameters[name + "_orig"]
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


def _hook_of(module: Module, name: str) -> tuple | None:
    """(key, hook) of the pruning of a parameter."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return key, hook
    return None


class PruningContainer(BasePruningMethod):
    """Several prunings of one parameter, one after the other; each chooses among what the ones before have left."""

    def __init__(self, *args: Any):
        self._pruning_methods: tuple = ()
        methods = args if not args or isinstance(args[0], BasePruningMethod) else tuple(args[0])
        for method in methods:
            if not self._pruning_methods and isinstance(method, BasePruningMethod):
                self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and method._tensor_name != self._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer "
                f"{self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, i: int) -> Any:
        return self._pruning_methods[i]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of the newest method among the elements, or slices, that are left."""
        method = self._pruning_methods[-1]
        mask = default_mask.clone().to(dtype=t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            left: Any = mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    f"Pruning methods of PRUNING_TYPE 'structured' need to have the attribute `dim` defined: {method}"
                )
            d = method.dim % t.dim()
            kept = mask.sum(dim=tuple(k for k in range(t.dim()) if k != d)) != 0
            left = (slice(None),) * d + (kept,)
        elif method.PRUNING_TYPE == "global":
            left = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask[left] = method.compute_mask(t[left], default_mask=mask[left]).to(dtype=mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing; the parameter gets a mask of ones."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


_WHOLE = (int, np.integer)


def _check_amount(amount: Any) -> None:
    if not isinstance(amount, (int, float, np.number)):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if amount < 0 or (amount > 1 and not isinstance(amount, _WHOLE)):
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")


def _how_many(amount: Any, n: int) -> int:
    """How many of n are pruned: a number of them, or a share."""
    if isinstance(amount, _WHOLE):
        if amount > n:
            raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={n}")
        return int(amount)
    return round(amount * n)


class _Unstructured(BasePruningMethod):
    """Prunes the elements of the lowest rank."""

    def __init__(self, amount: float):
        _check_amount(amount)
        self.amount = amount

    def rank(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        n = _how_many(self.amount, t.numel())
        mask = default_mask.clone()
        if n:
            mask.view(-1)[self.rank(t).reshape(-1).topk(n, largest=False)[1]] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes elements at random: `amount` of them, or that share of all."""

    def rank(self, t: Tensor) -> Tensor:
        return -livegrad.rand_like(t)


class L1Unstructured(_Unstructured):
    """Prunes the elements of the smallest size: `amount` of them, or that share of all."""

    def rank(self, t: Tensor) -> Tensor:
        return t.abs()


class _Structured(BasePruningMethod):
    PRUNING_TYPE = "structured"
    dim: int

    def slices(self, t: Tensor, default_mask: Tensor, kept: Tensor) -> Tensor:
        """The mask that keeps these slices along the dimension."""
        shape = [-1 if d == self.dim % t.dim() else 1 for d in range(t.dim())]
        return default_mask * kept.reshape(shape).to(default_mask.dtype)

    def count(self, t: Tensor) -> int:
        if t.dim() <= 1:
            raise ValueError(
                f"Structured pruning can only be applied to multidimensional tensors. Found tensor of shape {t.shape} "
                f"with {t.dim()} dims"
            )
        if not -t.dim() <= self.dim < t.dim():
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        return _how_many(self.amount, t.shape[self.dim])  # type: ignore[attr-defined]


class RandomStructured(_Structured):
    """Prunes slices along a dimension at random."""

    def __init__(self, amount: float, dim: int = -1):
        _check_amount(amount)
        self.amount = amount
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        n = self.count(t)
        if not n:
            return default_mask
        drawn = livegrad.rand(t.shape[self.dim], device=t.device)
        return self.slices(t, default_mask, drawn > drawn.kthvalue(n)[0])


class LnStructured(_Structured):
    """Prunes the slices along a dimension whose n-norm is smallest."""

    def __init__(self, amount: float, n: float | str, dim: int = -1):
        _check_amount(amount)
        self.amount = amount
        self.n = n
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        pruned = self.count(t)
        size = t.shape[self.dim]
        if not pruned:
            return default_mask
        others = tuple(d for d in range(t.dim()) if d != self.dim % t.dim())
        kept = livegrad.zeros(size, device=t.device)
        kept[t.norm(self.n, others).topk(size - pruned)[1]] = 1
        return self.slices(t, default_mask, kept)


class CustomFromMask(BasePruningMethod):
    """Prunes where a given mask is 0."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor):
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self.mask.to(dtype=default_mask.dtype)


def identity(module: Module, name: str) -> Module:
    """Give a parameter a mask of ones; returns the module."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune elements of a parameter at random: a number of them, or a share; returns the module."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None) -> Module:
    """Prune the smallest elements of a parameter: a number of them, or a share; returns the module.

    >>> import livegrad
    >>> from livegrad.nn.utils import prune
    >>> layer = prune.l1_unstructured(livegrad.nn.Linear(4, 2), "weight", amount=0.5)
    >>> int((layer.weight == 0).sum()), sorted(layer.state_dict())
    (4, ['bias', 'weight_mask', 'weight_orig'])
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune slices of a parameter along a dimension at random; returns the module."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: float | str, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prune the slices of a parameter along a dimension whose n-norm is smallest; returns the module."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune a parameter where a mask is 0; returns the module."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: type[BasePruningMethod],
    importance_scores: dict | None = None, **kwargs: Any,
) -> None:  # fmt: skip
    """Prune parameters of several modules together, as if they were one vector.

    parameters: (module, name) pairs. importance_scores: tensors by such pairs. Raises TypeError for a method that is
    not unstructured.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    pairs = list(parameters)
    given = {} if importance_scores is None else importance_scores
    if not isinstance(given, dict):
        raise TypeError("global_unstructured(): importance_scores is not of type dict")
    with livegrad.no_grad():
        scores = [given.get((module, name), getattr(module, name)) for module, name in pairs]
        masks = [getattr(m, name + "_mask", livegrad.ones_like(getattr(m, name))) for m, name in pairs]
        container = PruningContainer()
        container._tensor_name = "temp"
        method = pruning_method(**kwargs)
        method._tensor_name = "temp"
        if method.PRUNING_TYPE != "unstructured":
            raise TypeError(
                f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found {pruning_method} of '
                f"type {method.PRUNING_TYPE}"
            )
        container.add_pruning_method(method)
        final = container.compute_mask(
            livegrad.cat([s.reshape(-1) for s in scores]), livegrad.cat([m.reshape(-1) for m in masks])
        )
    start = 0
    for module, name in pairs:
        parameter = getattr(module, name)
        n = parameter.numel()
        custom_from_mask(module, name, mask=final[start : start + n].view_as(parameter))
        start += n


def remove(module: Module, name: str) -> Module:
    """Make the pruning of a parameter permanent; returns the module. Raises ValueError where it is not pruned."""
    found = _hook_of(module, name)
    if found is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    key, hook = found
    hook.remove(module)
    del module._forward_pre_hooks[key]
    return module


def is_pruned(module: Module) -> bool:
    """Whether any parameter of a module, or of one inside it, is pruned."""
    return any(
        isinstance(hook, BasePruningMethod) for each in module.modules() for hook in each._forward_pre_hooks.values()
    )
