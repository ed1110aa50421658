"""Programs as graphs that can be kept, run and translated without their Python.

>>> import livegrad
>>> from livegrad import nn
>>> program = livegrad.export.export(nn.Linear(3, 2), (livegrad.ones(4, 3),))
>>> program.graph_signature.parameters
('weight', 'bias')
"""

from .capture import ExportError
from .dimensions import Dim, dims
from .exporting import export
from .files import load, save
from .program import (
    ExportedProgram,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)

__all__ = [
    "Dim", "ExportError", "ExportGraphSignature", "ExportedProgram", "InputKind", "InputSpec", "OutputKind",
    "OutputSpec", "TensorArgument", "dims", "export", "load", "save",
]  # fmt: skip
