"""Autograd: recorded nodes, the engine that walks them, and the functions users call.

`backward`, `grad`, `Function`, `gradcheck`, `gradgradcheck`, and the modes of `autograd.mode`. Names are loaded when
first used, because the core imports parts of this package.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "backward": "functions",
    "grad": "functions",
    "Function": "function",
    "gradcheck": "gradcheck",
    "gradgradcheck": "gradcheck",
    "no_grad": "mode",
    "enable_grad": "mode",
    "set_grad_enabled": "mode",
    "inference_mode": "mode",
    "is_grad_enabled": "mode",
    "Node": "node",
    "Variable": "variable",
    "detect_anomaly": "anomaly",
    "is_anomaly_enabled": "anomaly",
    "set_detect_anomaly": "anomaly",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError:
            raise AttributeError(f"module 'livegrad.autograd' has no attribute '{name}'") from None
    module = importlib.import_module(f"{__name__}.{home}")
    # All of them at once: importing a module that is called like its function has put the module in its place.
    globals().update({each: getattr(module, each) for each, where in _HOME.items() if where == home})
    return globals()[name]
