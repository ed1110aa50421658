"""The module that holds PyTorch's own such functions; there are none here."""

__all__: list[str] = []
