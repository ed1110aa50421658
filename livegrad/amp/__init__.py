"""Mixed precision: `autocast` chooses the dtype of each operator, `GradScaler` keeps float16 gradients from vanishing.

>>> import livegrad
>>> x, w = livegrad.ones(2, 3), livegrad.ones(3, 2)
>>> with livegrad.amp.autocast("cpu", dtype=livegrad.bfloat16):
...     y = x @ w
>>> y.dtype, (x @ w).dtype
(torch.bfloat16, torch.float32)
"""

from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
