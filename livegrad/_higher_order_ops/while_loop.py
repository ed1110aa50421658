"""``_higher_order_ops.while_loop``, from which libraries import the function of the same name."""

from ..control_flow import while_loop

__all__ = ["while_loop"]
