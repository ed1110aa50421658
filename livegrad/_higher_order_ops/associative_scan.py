"""``_higher_order_ops.associative_scan``, from which libraries import the function of the same name."""

from ..control_flow import associative_scan

__all__ = ["associative_scan"]
