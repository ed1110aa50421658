"""Modules as functions of their parameters and buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..nn.module import Module
from ..ops.joining import stack
from ..tensor import Tensor


def functional_call(
    module: Module, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: dict | None = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Call a module with the given tensors in the place of the parameters and buffers of these names.

    parameter_and_buffer_dicts: a dictionary, or several of them without a name in common. args: a tuple, or the only
    argument. tie_weights: what the module has under several names is replaced under all of them. strict: every
    parameter and buffer must be given, and nothing else. The module has its own again afterwards.

    >>> import livegrad
    >>> layer = livegrad.nn.Linear(2, 1, bias=False)
    >>> livegrad.func.functional_call(layer, {"weight": livegrad.ones(1, 2)}, livegrad.tensor([2.0, 3.0]))
    tensor([5.])
    """
    given = _joined(parameter_and_buffer_dicts)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    places = _places(module)
    wanted = _wanted(module, places, given, tie_weights, strict)
    before: list[tuple] = []
    try:
        for name, value in wanted.items():
            part, registry, key = places[name]
            before.append((part, registry, key, registry[key]))
            part._put(registry, key, value)
        return module(*args, **(kwargs or {}))
    finally:
        interruption = None
        while before:  # all of them: a module with some of the given tensors would be another one from now on
            try:
                while before:
                    part, registry, key, value = before[-1]
                    part._put(registry, key, value)
                    before.pop()
            except KeyboardInterrupt as struck:
                interruption = struck
        if interruption is not None:
            raise interruption


def _joined(dicts: Any) -> dict:
    if isinstance(dicts, dict):
        return dicts
    if not isinstance(dicts, Sequence):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(dicts)}"
        )
    if not all(isinstance(d, dict) for d in dicts):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    made: dict = {}
    for d in dicts:
        twice = made.keys() & d.keys()
        if twice:
            raise ValueError(
                f"{sorted(twice)[0]} appeared in multiple dictionaries; behavior of functional call is ambiguous"
            )
        made.update(d)
    return made


def _places(module: Module) -> dict[str, tuple]:
    """name -> (the module that has it, its registry, the name there), of all parameters and buffers."""
    found = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for registry in (part._parameters, part._buffers):
            for name, value in registry.items():
                if value is not None:
                    found[f"{path}.{name}" if path else name] = (part, registry, name)
    return found


def _wanted(module: Module, places: dict, given: dict, tie_weights: bool, strict: bool) -> dict:
    """What is to be put where."""
    unknown = [n for n in given if n not in places]
    if strict:
        missing = [n for n in places if n not in given]
        if unknown or missing:
            text = "; ".join(
                f"{what} key(s): {', '.join(map(repr, names))}"
                for what, names in (("Unexpected", unknown), ("Missing", missing))
                if names
            )
            raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}: {text}.")
    wanted = {n: v for n, v in given.items() if n in places}
    if tie_weights:
        by_tensor: dict[int, list[str]] = {}
        for name, (_, registry, key) in places.items():
            by_tensor.setdefault(id(registry[key]), []).append(name)
        for names in by_tensor.values():
            said = [n for n in names if n in wanted]
            if len({id(wanted[n]) for n in said}) > 1:
                raise ValueError(f"functional_call got multiple values for keys {said}, which are tied.")
            for n in names if said else ():
                wanted[n] = wanted[said[0]]
    return wanted


def stack_module_state(models: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of modules of one kind, stacked along a new first dimension, as `vmap` takes them.

    The stacked parameters are leaves that require gradients where the modules' own do.

    >>> import livegrad
    >>> parameters, buffers = livegrad.func.stack_module_state([livegrad.nn.Linear(2, 3) for _ in range(4)])
    >>> parameters["weight"].shape
    torch.Size([4, 3, 2])
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if any(m.training != models[0].training for m in models):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(name: str, entries: list) -> Tensor:
        required = {e.requires_grad for e in entries}
        if len(required) > 1:
            raise RuntimeError(f"Expected {name} parameter to have the same requires_grad across models.")
        return stack([e.detach() for e in entries]).requires_grad_(required.pop())

    parameters = {
        name: stacked(name, [dict(m.named_parameters())[name] for m in models])
        for name, _ in models[0].named_parameters()
    }
    buffers = {name: stack([dict(m.named_buffers())[name] for m in models]) for name, _ in models[0].named_buffers()}
    return parameters, buffers


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Let all BatchNorm layers in a module, which is returned, keep no running statistics.

    Then nothing is written where `vmap` has a batch. Batches are normalised by their own statistics, always.

    >>> import livegrad
    >>> livegrad.func.replace_all_batch_norm_modules_(livegrad.nn.BatchNorm1d(2)).running_mean is None
    True
    """
    from ..nn.modules.batchnorm import _BatchNorm

    for part in root.modules():
        if isinstance(part, _BatchNorm):
            part.running_mean = part.running_var = part.num_batches_tracked = None
            part.track_running_stats = False
    return root


__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]
