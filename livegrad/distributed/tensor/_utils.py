"""Which part of a sharded tensor a process has: not there, but for the name (see `absent`)."""

from ..absent import absent_function

compute_local_shape_and_global_offset = absent_function("compute_local_shape_and_global_offset", __name__)
