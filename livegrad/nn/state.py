"""Saving a module's tensors into a state dictionary, and loading them back."""

from collections import OrderedDict, namedtuple
from collections.abc import Mapping

import livegrad
from livegrad.tensor import Tensor

from .parameter import Parameter

__all__ = ["EXTRA", "IncompatibleKeys", "load", "load_one", "save", "save_one"]

EXTRA = "_extra_state"  # the key under which a module's own `get_extra_state()` is saved


class IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What ``load_state_dict`` returns: the keys that were not there, and those that nothing asked for."""

    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_{super().__repr__()}"

    __str__ = __repr__


def has_extra(module, method):
    """Whether the module's class has defined ``get_extra_state`` or ``set_extra_state`` itself."""
    from .module import Module

    return getattr(type(module), method) is not getattr(Module, method)


def save_one(module, destination, prefix, keep_vars):
    """Puts the module's own parameters, buffers and extra state into ``destination``; no children."""
    for name, tensor in module._parameters.items():
        if tensor is not None:
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
    for name, tensor in module._buffers.items():
        if tensor is not None and name not in module._non_persistent_buffers_set:
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
    if has_extra(module, "get_extra_state"):
        destination[prefix + EXTRA] = module.get_extra_state()


def save(module, destination, prefix, keep_vars):
    """The whole of ``Module.state_dict``."""
    if destination is None:
        destination = OrderedDict()
        destination._metadata = OrderedDict()
    about = {"version": module._version}
    if hasattr(destination, "_metadata"):
        destination._metadata[prefix[:-1]] = about
    for hook in module._state_dict_pre_hooks.values():
        hook(module, prefix, keep_vars)
    module._save_to_state_dict(destination, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    for hook in module._state_dict_hooks.values():
        result = hook(module, destination, prefix, about)
        if result is not None:
            if getattr(hook, "_from_public_api", False):
                raise RuntimeError("state_dict post-hook must return None")
            destination = result
    return destination


def load_one(module, state_dict, prefix, about, strict, missing, unexpected, errors):
    """Copies what ``state_dict`` has under ``prefix`` into the module's own tensors; no children.

    Nothing is raised: problems are added to the three lists.
    """
    for hook in module._load_state_dict_pre_hooks.values():
        hook(state_dict, prefix, about, strict, missing, unexpected, errors)
    own = {name: tensor for name, tensor in module._parameters.items() if tensor is not None}
    own.update(
        (name, tensor)
        for name, tensor in module._buffers.items()
        if tensor is not None and name not in module._non_persistent_buffers_set
    )
    assign = about.get("assign_to_params_buffers", False)
    for name, tensor in own.items():
        key = prefix + name
        if key not in state_dict:
            if strict:
                missing.append(key)
            continue
        given = state_dict[key]
        if not isinstance(given, Tensor):
            errors.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(given)}"
            )
            continue
        if tensor.dim() == 0 and given.dim() == 1 and len(given) == 1:
            given = given[0]  # scalars were saved with one element long ago
        if given.shape != tensor.shape:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                f"the shape in current model is {tensor.shape}."
            )
            continue
        try:
            with livegrad.no_grad():
                if not assign:
                    tensor.copy_(given)
                elif isinstance(tensor, Parameter):
                    if not isinstance(given, Parameter) or given.requires_grad != tensor.requires_grad:
                        given = Parameter(given, requires_grad=tensor.requires_grad)
                    setattr(module, name, given)
                else:
                    setattr(module, name, given)
        except Exception as error:
            errors.append(
                f'While copying the parameter named "{key}", whose dimensions in the model are {tensor.size()} and '
                f"whose dimensions in the checkpoint are {given.size()}, an exception occurred : {error.args}."
            )

    extra = prefix + EXTRA
    if has_extra(module, "set_extra_state"):
        if extra in state_dict:
            module.set_extra_state(state_dict[extra])
        elif strict:
            missing.append(extra)
    elif strict and extra in state_dict:
        unexpected.append(extra)

    if strict:
        for key in state_dict:
            if key.startswith(prefix) and key != extra:
                first, *rest = key[len(prefix) :].split(".", 1)
                if first not in (module._modules if rest else own):
                    unexpected.append(key)


def _load_all(module, state_dict, prefix, metadata, assign, missing, unexpected, errors):
    """What `load_one` does, for a module and its children, and their hooks."""
    about = {} if metadata is None else metadata.get(prefix[:-1], {})
    if assign:
        about["assign_to_params_buffers"] = True
    module._load_from_state_dict(state_dict, prefix, about, True, missing, unexpected, errors)
    for name, child in module._modules.items():
        if child is not None:
            below = f"{prefix}{name}."
            part = {key: value for key, value in state_dict.items() if key.startswith(below)}
            _load_all(child, part, below, metadata, assign, missing, unexpected, errors)
    report = IncompatibleKeys(missing, unexpected)
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, report) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                "values, if incompatible_keys need to be modified, it should be done inplace."
            )


def load(module, state_dict, strict, assign):
    """The whole of ``Module.load_state_dict``."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    metadata = getattr(state_dict, "_metadata", None)
    state_dict = OrderedDict(state_dict)
    if metadata is not None:
        state_dict._metadata = metadata
    missing, unexpected, errors = [], [], []
    _load_all(module, state_dict, "", metadata, assign, missing, unexpected, errors)
    if strict:
        problems = list(errors)
        if unexpected:
            problems.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if missing:
            problems.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
    else:
        problems = errors
    if problems:
        listing = "\n\t".join(problems)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listing}")
    return IncompatibleKeys(missing, unexpected)


def _quoted(keys):
    return ", ".join(f'"{key}"' for key in keys)
