"""The older name for `livegrad.func.functional_call`."""

import livegrad

__all__ = ["functional_call"]


def functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """Call a module with the given tensors in the place of the parameters and buffers of these names."""
    return livegrad.func.functional_call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )
