"""Dictionaries whose keys are compared by identity, and go when nobody else holds them: tensors, which equal none."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any

__all__ = ["TensorWeakRef", "WeakIdKeyDictionary", "WeakIdRef", "WeakTensorKeyDictionary"]


class WeakIdRef(weakref.ref):
    """A weak reference that is equal to others of the same object, as long as it is there, and to itself."""

    __slots__ = ("_id",)

    def __init__(self, key: Any, callback: Any = None):
        super().__init__(key, callback)  # type: ignore[call-arg]
        self._id = id(key)

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: Any) -> bool:
        a, b = self(), other()
        return a is b if a is not None and b is not None else self is other


class TensorWeakRef:
    """A weak reference to a tensor."""

    def __init__(self, tensor: Any):
        self.ref = WeakIdRef(tensor)

    def __call__(self) -> Any:
        return self.ref()


class WeakIdKeyDictionary(MutableMapping):
    """A dictionary by the identity of its keys, whose entries go with them.

    >>> import livegrad
    >>> from livegrad.utils.weak import WeakIdKeyDictionary
    >>> x, names = livegrad.ones(2), WeakIdKeyDictionary()
    >>> names[x] = "x"
    >>> x in names, livegrad.ones(2) in names
    (True, False)
    >>> del x
    >>> len(names)
    0
    """

    def __init__(self, dict: Any = None, ref_type: type = WeakIdRef):  # noqa: A002  as PyTorch calls it
        self.ref_type = ref_type
        self.data: dict[Any, Any] = {}  # type: ignore[valid-type]

        owner = weakref.ref(self)

        def gone(ref: Any) -> None:
            there = owner()
            if there is not None:
                there.data.pop(ref, None)

        self._gone = gone
        if dict is not None:
            self.update(dict)

    def __getitem__(self, key: Any) -> Any:
        return self.data[self.ref_type(key)]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.data[self.ref_type(key, self._gone)] = value

    def __delitem__(self, key: Any) -> None:
        del self.data[self.ref_type(key)]

    def __contains__(self, key: Any) -> bool:
        try:
            return self.ref_type(key) in self.data
        except TypeError:  # of what there can be no weak references
            return False

    def __iter__(self) -> Iterator:
        return iter([key for ref in list(self.data) if (key := ref()) is not None])

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"

    def copy(self) -> WeakIdKeyDictionary:
        """Another one with the same entries."""
        made = WeakIdKeyDictionary(ref_type=self.ref_type)
        made.update(self)
        return made

    __copy__ = copy

    def keyrefs(self) -> list:
        """The weak references to all keys."""
        return list(self.data)


WeakTensorKeyDictionary = WeakIdKeyDictionary
