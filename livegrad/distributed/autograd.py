"""Gradients through remote calls: not there, as in a PyTorch that was built without them, but for the names."""

from .absent import REMOTE, absent_class, absent_function

__all__ = ["DistAutogradContext", "backward", "context", "get_gradients", "is_available"]


def is_available() -> bool:
    """False."""
    return False


DistAutogradContext = absent_class("DistAutogradContext", __name__, REMOTE)
context = absent_class("context", __name__, REMOTE)
backward = absent_function("backward", __name__, REMOTE)
get_gradients = absent_function("get_gradients", __name__, REMOTE)
