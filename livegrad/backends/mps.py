"""Apple's Metal: not used."""


def is_available() -> bool:
    """Whether Apple's Metal is in use: never in this version."""
    return False


def is_built() -> bool:
    """Whether this version can use it: no."""
    return False
