"""OpenMP: not used."""


def is_available() -> bool:
    """Whether OpenMP is in use: never in this version."""
    return False
