"""``import torch`` in a process that a program with livegrad in PyTorch's place has started.

Such a process is a new interpreter, and inherits the path of its parent, on which this file's folder is.
"""

import sys

import livegrad
from livegrad import compat

sys.modules["torch"] = livegrad
compat.install()
