"""Architecture optimisation: the marks by which models say where numbers could be quantised."""

from . import quantization

__all__ = ["quantization"]
