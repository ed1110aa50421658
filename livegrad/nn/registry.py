"""A module's parameters, buffers and children, by name."""

from __future__ import annotations

import weakref

from .running import GENERATION


def shows(kind, name):
    """Whether what is registered under a name is an ordinary attribute of modules of a class."""
    return kind._shows_members and not hasattr(kind, name)


class Registry(dict):
    """A module's parameters, buffers or children, by name.

    Whatever is registered is an ordinary attribute of the module as well, so that reading ``self.weight`` is a plain
    attribute lookup and never the slow ``__getattr__``. A name that the module's class defines is left to the class,
    and all are if it has a ``__getattr__`` of its own, which is to be asked each time.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner, items=()):
        super().__init__()
        self._owner = weakref.ref(owner)
        for name, value in dict(items).items():
            self[name] = value

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        owner = self._owner()
        if owner is not None:
            attributes = owner.__dict__
            if "_searched" in attributes:
                GENERATION[0] += 1
            if shows(type(owner), name):
                attributes[name] = value

    def __delitem__(self, name):
        super().__delitem__(name)
        owner = self._owner()
        if owner is not None:
            if "_searched" in owner.__dict__:
                GENERATION[0] += 1
            owner.__dict__.pop(name, None)

    def pop(self, name, *default):
        if name not in self and default:
            return default[0]
        value = self[name]
        del self[name]
        return value

    def popitem(self):
        if not self:
            raise KeyError("popitem(): dictionary is empty")
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self):
        for name in list(self):
            del self[name]

    def update(self, *items, **more):
        for name, value in dict(*items, **more).items():
            self[name] = value

    def setdefault(self, name, default=None):
        if name not in self:
            self[name] = default
        return self[name]

    def __ior__(self, other):  # type: ignore[misc]
        self.update(other)
        return self

    def copy(self):
        return dict(self)

    def __reduce__(self):
        return dict, (dict(self),)

    def __reduce_ex__(self, protocol):
        return dict, (dict(self),)
