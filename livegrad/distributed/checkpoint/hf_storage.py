"""Checkpoints of sharded tensors as safetensors: not there, but for the names (see `absent`)."""

from ..absent import absent_class

__all__ = ["HuggingFaceStorageReader", "HuggingFaceStorageWriter"]

HuggingFaceStorageReader = absent_class("HuggingFaceStorageReader", __name__)
HuggingFaceStorageWriter = absent_class("HuggingFaceStorageWriter", __name__)
