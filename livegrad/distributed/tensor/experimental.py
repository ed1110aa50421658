"""What is tried out about sharded tensors: not there, but for the names (see `absent`)."""

from ..absent import absent_function

__all__ = ["context_parallel", "implicit_replication", "local_map"]

context_parallel = absent_function("context_parallel", __name__)
implicit_replication = absent_function("implicit_replication", __name__)
local_map = absent_function("local_map", __name__)
