"""An interpreter of PTX, for tests: the proof, without a GPU, of the numbers that generated kernels compute.

| module | what |
|---|---|
| `parse` | text as functions, variables and instructions |
| `kinds` | types over NumPy's arrays |
| `floats`, `integers` | arithmetic, rounded as the hardware rounds |
| `translate` | stretches of instructions as Python functions |
| `memory`, `races` | global, shared and local memory, checked; who wrote and read it last |
| `machine` | threads, divergence, barriers, shuffles, calls, launches |

What it does not know is an error, never a guess: so are arithmetic that an assembler might fuse, float atomics, and
everything that would depend on the order in which threads run.
"""

from .machine import launch
from .memory import Fault

__all__ = ["Fault", "launch"]
