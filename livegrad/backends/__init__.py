"""Settings of the libraries that PyTorch can use, so that programs which set them run unchanged.

`cuda` and `cudnn` are in force on CUDA devices. The other libraries are not used here: a setting of theirs keeps its
value and has no other effect.

>>> import livegrad
>>> livegrad.backends.cudnn.deterministic = True
>>> livegrad.backends.cudnn.is_available()
False
"""

from . import cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
