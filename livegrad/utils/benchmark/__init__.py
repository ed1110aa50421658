"""`benchmark`: timing statements, and tables of what was measured."""

from .compare import Compare
from .measurement import Measurement, select_unit
from .timing import Timer, timer

__all__ = ["Compare", "Measurement", "Timer", "select_unit", "timer"]
