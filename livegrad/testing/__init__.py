"""What tests need: comparing results, and tensors of random numbers to begin with."""

from .comparing import assert_close
from .making import make_tensor

__all__ = ["assert_close", "make_tensor"]
