"""Types of lists that one number stands for, in annotations."""

from typing import Any, Dict, List, Optional, Tuple, Union  # noqa: UP035  programs take them from here

__all__ = ["Any", "BroadcastingList1", "BroadcastingList2", "BroadcastingList3", "Dict", "List", "Optional", "Tuple",
           "Union"]  # fmt: skip

BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = List  # noqa: UP006
