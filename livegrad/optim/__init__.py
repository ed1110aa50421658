"""Optimizers, and schedules for their learning rates.

>>> import livegrad
>>> from livegrad import nn, optim
>>> w = nn.Parameter(livegrad.tensor(5.0))
>>> optimizer = optim.SGD([w], lr=0.5)
>>> for _ in range(3):
...     optimizer.zero_grad()
...     loss = (w - 1) ** 2
...     loss.backward()
...     optimizer.step()
>>> w.item()
1.0
"""

from . import lr_scheduler
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .lbfgs import LBFGS
from .nadam import NAdam
from .optimizer import Optimizer
from .radam import RAdam
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
]
