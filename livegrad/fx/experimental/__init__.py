"""What can be done to traced models before they are used for inference only."""

from . import optimization

__all__ = ["optimization"]
