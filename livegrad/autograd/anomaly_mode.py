"""Looking for NaN in backward passes, under PyTorch's name for the file."""

from .anomaly import detect_anomaly, set_detect_anomaly

__all__ = ["detect_anomaly", "set_detect_anomaly"]
