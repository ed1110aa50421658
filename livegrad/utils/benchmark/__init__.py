"""`benchmark`: timing statements, and tables of what was measured."""

from .compare import Compare
from .measurement import Measurement, select_unit
from .timing import Language, Timer, timer

__all__ = ["Compare", "Language", "Measurement", "Timer", "select_unit", "timer"]
