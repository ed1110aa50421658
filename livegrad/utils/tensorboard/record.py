"""One run of a model, as the graph that it recorded."""

import dataclasses
import inspect

from livegrad.graph import graph


def run(model, input_to_model):
    """Calls ``model`` once, recording, and returns the :class:`livegrad.graph.Graph` of what ran.

    The inputs are made to require a gradient, so that what they alone go through is recorded as well.
    """
    from livegrad import enable_grad

    args, kwargs = _arguments(input_to_model)
    inputs, plain = [], []
    with enable_grad():
        args = tuple(_watch(value, name, inputs, plain) for value, name in zip(args, _names(model, len(args))))
        kwargs = {name: _watch(value, name, inputs, plain) for name, value in kwargs.items()}
        results = tensors(model(*args, **kwargs))
    if not any(result.requires_grad for result in results):
        raise RuntimeError(
            f"running {type(model).__name__} recorded no graph: no result requires a gradient "
            f"(it returned {len(results)} tensors)"
        )
    recorded = graph(*results, params=model, inputs=inputs)
    _name_constants(recorded, plain)
    return recorded


def _arguments(value):
    if value is None:
        return (), {}
    if isinstance(value, dict):
        return (), dict(value)
    return (tuple(value), {}) if isinstance(value, (tuple, list)) else ((value,), {})


def _names(model, count):
    """The parameter names of ``forward``, as far as they are known."""
    try:
        parameters = inspect.signature(model.forward if hasattr(model, "forward") else model).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [f"arg{place}" for place in range(len(names), count)]


def _watch(value, name, inputs, plain):
    """``value`` with tensors replaced by ones that are recorded, which are added to ``inputs``; others to ``plain``."""
    if isinstance(value, dict):
        return {key: _watch(item, f"{name}.{key}", inputs, plain) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_watch(item, f"{name}.{place}", inputs, plain) for place, item in enumerate(value))
    if not hasattr(value, "grad_fn"):
        return value
    if not (value.is_floating_point() or value.is_complex()):
        plain.append((name, value))
        return value
    watched = value.detach().requires_grad_().clone()  # a clone, since a leaf could not be changed in place
    inputs.append((name, watched))
    return watched


def tensors(value):
    """The tensors in nested tuples, lists, dicts and dataclasses, in order."""
    if hasattr(value, "grad_fn"):
        return [value]
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, (tuple, list)):
        parts = value
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, field.name) for field in dataclasses.fields(value)]
    else:
        parts = ()
    return [tensor for part in parts for tensor in tensors(part)]


def _name_constants(recorded, plain):
    """Integer inputs are recorded as constants: those with the size and type of one input only get its name."""
    kinds = {}
    for name, tensor in plain:
        kinds.setdefault((tensor.numel(), tensor.dtype.name), []).append(name)
    for node in recorded.constants:
        names = kinds.get((node.numel, node.dtype), ())
        if len(names) == 1:
            node.kind, node.op, node.label, node.module = "input", "input", names[0], ""
