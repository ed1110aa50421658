"""``_higher_order_ops.scan``, from which libraries import the function of the same name."""

from ..control_flow import scan

__all__ = ["scan"]
