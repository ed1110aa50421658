"""``torch.storage``: the names of `storages` under which libraries import them."""

from .storages import TypedStorage, UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
