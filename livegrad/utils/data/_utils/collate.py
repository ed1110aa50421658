"""Making batches, under PyTorch's private name."""

import re

from ..collate import collate, collate_tensor_fn, default_collate, default_collate_fn_map, default_convert

__all__ = ["collate", "collate_tensor_fn", "default_collate", "default_collate_fn_map", "default_convert"]

np_str_obj_array_pattern = re.compile("[SaUO]")  # the kinds of NumPy's dtypes of which no tensor can be made
