"""All transforms of random variables."""

from . import pointwise, structured
from .pointwise import *  # noqa: F403
from .pointwise import _InverseTransform as _InverseTransform
from .structured import *  # noqa: F403

__all__ = sorted([*pointwise.__all__, *structured.__all__])
