"""Modules as functions of their parameters, as the functorch package had them before `func.functional_call`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..func.modules import functional_call, stack_module_state
from ..nn.module import Module
from ..tensor import Tensor

__all__ = [
    "FunctionalModule", "FunctionalModuleWithBuffers", "combine_state_for_ensemble", "make_functional",
    "make_functional_with_buffers",
]  # fmt: skip


class FunctionalModuleWithBuffers(Module):
    """A module called with its parameters and its buffers, in the order of their names."""

    def __init__(self, stateless_model: Module, param_names: tuple, buffer_names: tuple):
        super().__init__()
        self.stateless_model = stateless_model
        self.param_names, self.buffer_names = param_names, buffer_names

    def forward(self, params: Sequence[Tensor], buffers: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        given = dict(zip((*self.param_names, *self.buffer_names), (*params, *buffers), strict=True))
        return functional_call(self.stateless_model, given, args, kwargs)


class FunctionalModule(Module):
    """A module without buffers called with its parameters, in the order of their names."""

    def __init__(self, stateless_model: Module, param_names: tuple):
        super().__init__()
        self.stateless_model = stateless_model
        self.param_names = param_names

    def forward(self, params: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(self.param_names, params, strict=True))
        return functional_call(self.stateless_model, given, args, kwargs)


def make_functional_with_buffers(model: Module, disable_autograd_tracking: bool = False) -> tuple:
    """(the module as a function of parameters and buffers, its parameters, its buffers), of a copy of the module.

    disable_autograd_tracking: the parameters do not require gradients.

    >>> import livegrad
    >>> from livegrad._functorch.make_functional import make_functional_with_buffers
    >>> function, parameters, buffers = make_functional_with_buffers(livegrad.nn.BatchNorm1d(2))
    >>> len(parameters), len(buffers), function(parameters, buffers, livegrad.ones(3, 2)).shape
    (2, 3, torch.Size([3, 2]))
    """
    model = copy.deepcopy(model)
    params, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    if disable_autograd_tracking:
        for p in params.values():
            p.requires_grad_(False)
    function = FunctionalModuleWithBuffers(model.to("meta"), tuple(params), tuple(buffers))
    return function, tuple(params.values()), tuple(buffers.values())


def make_functional(model: Module, disable_autograd_tracking: bool = False) -> tuple:
    """(the module as a function of parameters, its parameters), of a copy of the module; see the other one.

    Raises RuntimeError for a module that has buffers.
    """
    if next(iter(model.buffers()), None) is not None:
        raise RuntimeError(
            "make_functional(model): `model` has buffers. Please use make_functional_with_buffers(model) instead."
        )
    function, params, _ = make_functional_with_buffers(model, disable_autograd_tracking)
    return FunctionalModule(function.stateless_model, function.param_names), params


def combine_state_for_ensemble(models: Sequence[Module]) -> tuple:
    """(one of several modules as a function, their parameters, their buffers stacked), for `vmap`.

    >>> import livegrad
    >>> from livegrad._functorch.make_functional import combine_state_for_ensemble
    >>> models = [livegrad.nn.Linear(3, 2) for _ in range(4)]
    >>> function, parameters, buffers = combine_state_for_ensemble(models)
    >>> livegrad.vmap(function, in_dims=(0, 0, None))(parameters, buffers, livegrad.ones(5, 3)).shape
    torch.Size([4, 5, 2])
    """
    if len(models) == 0:
        raise RuntimeError("combine_state_for_ensemble: Expected at least one model, got 0.")
    params, buffers = stack_module_state(models)
    function, _, _ = make_functional_with_buffers(models[0])
    return function, tuple(params.values()), tuple(buffers.values())
