"""Remote calls: not there. As in a PyTorch that was built without them, libraries can ask."""

__all__ = ["is_available"]


def is_available() -> bool:
    """False."""
    return False
