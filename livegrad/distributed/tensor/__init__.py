"""Tensors sharded over processes: not there, but for the names (see `absent`), and for placements, which are values."""

from ..absent import absent_class, absent_function
from .placement_types import Partial, Placement, Replicate, Shard

__all__ = ["DTensor", "Partial", "Placement", "Replicate", "Shard", "distribute_module", "distribute_tensor"]

DTensor = absent_class("DTensor", __name__)
distribute_module = absent_function("distribute_module", __name__)
distribute_tensor = absent_function("distribute_tensor", __name__)
