"""The base of all modules, and what goes with its state, under PyTorch's names for them."""

from ...native import shown_in as _shown_in
from ..module import Module
from ..state import EXTRA as _EXTRA_STATE_KEY_SUFFIX
from ..state import IncompatibleKeys as _IncompatibleKeys

__all__ = ["_EXTRA_STATE_KEY_SUFFIX", "_IncompatibleKeys", "Module"]

_shown_in(__name__, Module)
