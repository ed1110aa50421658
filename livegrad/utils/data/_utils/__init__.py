"""PyTorch's private modules of `utils.data`, under whose names libraries import what makes batches."""

from . import collate, pin_memory, worker

__all__ = ["collate", "pin_memory", "worker"]
