"""Intel's MKL: not used."""


def is_available() -> bool:
    """Whether Intel's MKL is in use: never in this version."""
    return False
