"""oneDNN: not used."""

enabled = True


def is_available() -> bool:
    """Whether oneDNN is in use: never in this version."""
    return False
