"""Neural networks: modules, containers, layers, losses, initialisers and their functional forms.

>>> import livegrad
>>> from livegrad import nn
>>> model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
>>> model(livegrad.zeros(8, 2)).shape == (8, 1)
True
"""

from . import functional, init, modules, parallel, parameter, utils
from .module import Module
from .modules import *  # noqa: F403
from .parallel import DataParallel
from .parameter import Buffer, Parameter

__all__ = [
    "Buffer",
    "DataParallel",
    "Module",
    "Parameter",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
    *modules.__all__,
]
