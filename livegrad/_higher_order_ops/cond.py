"""``_higher_order_ops.cond``, from which libraries import the function of the same name."""

from ..control_flow import cond

__all__ = ["cond"]
