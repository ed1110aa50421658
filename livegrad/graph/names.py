"""Names for the tensors of a graph: those that were given, and the variables of the calling function."""

from types import ModuleType

from livegrad.site import user_frame


def given_names(source):
    """``[(name, tensor), ...]`` from a module, a dict, or pairs; ``[]`` for None."""
    if source is None:
        return []
    if hasattr(source, "named_parameters"):
        return list(source.named_parameters())
    if hasattr(source, "items"):
        return list(source.items())
    return list(source)


def caller_names():
    """``[(name, tensor), ...]`` from the variables of the first calling function outside the library.

    A tensor held by a variable has that name, and a parameter of a module held by a variable has its qualified name.
    """
    frame = user_frame(2)
    return [] if frame is None else named(frame.f_locals)


def named(variables):
    """``[(name, tensor), ...]`` from variables, a dict: tensors first, then parameters of modules."""
    tensors, parameters = [], []
    for name, value in list(variables.items()):
        kind = type(value)
        if name.startswith("_") or kind in _PLAIN or kind is type:
            continue
        if hasattr(kind, "grad_fn"):
            tensors.append((name, value))
        elif hasattr(kind, "named_parameters"):
            parameters.extend(value.named_parameters())
    return tensors + parameters


_PLAIN = (int, float, str, bool, bytes, list, tuple, dict, set, type(None), ModuleType)
