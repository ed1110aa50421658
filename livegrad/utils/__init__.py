"""Utilities: data loading, TensorBoard, checkpointing."""
