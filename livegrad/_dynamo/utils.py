"""Questions that libraries ask about PyTorch's compiler."""

__all__ = ["is_compile_supported"]


def is_compile_supported(device_type: str) -> bool:
    """Whether PyTorch's compiler can be used for a kind of device: it is not here."""
    return False
