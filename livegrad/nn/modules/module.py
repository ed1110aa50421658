"""The base of all modules, and what goes with its state, under PyTorch's names for them."""

from ...native import shown_in as _shown_in
from ..global_hooks import (
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from ..hooks import GlobalHooks
from ..module import Module
from ..state import EXTRA as _EXTRA_STATE_KEY_SUFFIX
from ..state import IncompatibleKeys as _IncompatibleKeys

__all__ = [
    "_EXTRA_STATE_KEY_SUFFIX", "_IncompatibleKeys", "Module", "register_module_buffer_registration_hook",
    "register_module_forward_hook", "register_module_forward_pre_hook", "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook", "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]  # fmt: skip

_global_parameter_registration_hooks = GlobalHooks.parameters
_global_buffer_registration_hooks = GlobalHooks.buffers
_global_module_registration_hooks = GlobalHooks.modules

_shown_in(__name__, Module)
