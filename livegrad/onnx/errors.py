"""What goes wrong while a model is translated."""

__all__ = ["OnnxExporterError"]


class OnnxExporterError(RuntimeError):
    """A model cannot be translated to ONNX: the text names the operator and the user's line."""
