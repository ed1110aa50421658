"""Which parts of a module are sharded by themselves: not there, but for the names (see `absent`)."""

from ..absent import absent_class, absent_function

__all__ = [
    "CustomPolicy",
    "ModuleWrapPolicy",
    "always_wrap_policy",
    "enable_wrap",
    "lambda_auto_wrap_policy",
    "size_based_auto_wrap_policy",
    "transformer_auto_wrap_policy",
    "wrap",
]

CustomPolicy = absent_class("CustomPolicy", __name__)
ModuleWrapPolicy = absent_class("ModuleWrapPolicy", __name__)
always_wrap_policy = absent_function("always_wrap_policy", __name__)
enable_wrap = absent_function("enable_wrap", __name__)
lambda_auto_wrap_policy = absent_function("lambda_auto_wrap_policy", __name__)
size_based_auto_wrap_policy = absent_function("size_based_auto_wrap_policy", __name__)
transformer_auto_wrap_policy = absent_function("transformer_auto_wrap_policy", __name__)
wrap = absent_function("wrap", __name__)
