"""An interpreter for a part of the pickle language, in which nothing can be called that is not ours."""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .objects import kind_of

__all__ = ["Function", "Machine", "Special", "elements", "hashable", "name_of", "refuse"]


def refuse(message: str) -> pickle.UnpicklingError:
    """An error about what is in a pickle."""
    return pickle.UnpicklingError(message)


class Special:
    """The base of what pickles refer to and handle, but objects that are loaded must not hold."""

    @property
    def shown(self) -> str:
        """What it is, for messages."""
        raise NotImplementedError


@dataclass(frozen=True)
class Function(Special):
    """One of the few functions that a pickle may call; ``run`` is livegrad's own."""

    name: str
    run: Callable[..., Any]

    @property
    def shown(self) -> str:
        return self.name


def name_of(obj: Any) -> str:
    """What an object is, for messages."""
    return obj.shown if isinstance(obj, Special) else f"an object of class {type(obj).__name__}"


class Machine:
    """Runs one pickle, from `position` in `data` to its end.

    It has a stack and a memo as Python's own, but the only functions that a pickle can call are those that `named`
    gives, the only attribute that it can set is a state dict's ``_metadata``, and what calls may allocate is bounded by
    the size of the data. Objects of classes that the caller has allowed (`safe`) are made and filled as Python does it.
    """

    fillers: dict[type, Callable[[Any, Any], None]] = {}  # how other objects take their state

    def __init__(self, data: bytes, position: int = 0):
        self.data = data
        self.position = position
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.allowed: list[Any] = []  # classes and functions that the caller has allowed, and that the pickle names
        self.built: list[Any] = []  # what was made by them
        self.call_budget = 16 * len(data) + 2**20

    def named(self, module: Any, name: Any) -> Any:
        """What a pickle may use under that name."""
        raise NotImplementedError

    def persistent(self, reference: Any) -> Any:
        """What a pickle refers to that is not in it."""
        raise NotImplementedError

    def load(self) -> Any:
        """The object."""
        while True:
            code = self.take(1)
            if code == b".":
                return self._result(self.pop())
            handler = _OPCODES.get(code)
            if handler is None:
                raise refuse(f"its pickle uses instruction {code!r}, which files of weights have no need for")
            handler(self)

    def _result(self, obj: Any) -> Any:
        """The finished object, once it is sure that none of this interpreter's own objects are in it."""
        waiting, seen = [obj], set()
        while waiting:
            item = waiting.pop()
            if isinstance(item, Special):
                raise refuse(f"it holds {name_of(item)}, which cannot be loaded by itself")
            if type(item) in (list, tuple, dict, OrderedDict) and id(item) not in seen:
                seen.add(id(item))
                waiting.extend(item.values() if isinstance(item, dict) else item)
                if type(item) is OrderedDict:
                    waiting.extend(vars(item).values())
        return obj

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise refuse("its pickle is cut short. Copy or download the file again")
        chunk = self.data[self.position : end]
        self.position = end
        return chunk

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise refuse("its pickle is cut short. Copy or download the file again")
        return self.take(end + 1 - self.position)[:-1].decode("utf-8")

    def push(self, obj: Any) -> None:
        self.stack.append(obj)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise refuse("its pickle is damaged: an instruction has no operand")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise refuse("its pickle is damaged: an instruction has no operands")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top_any(self) -> None:
        if not self.stack:
            raise refuse("its pickle is damaged: nothing to fill")

    def top(self, *kinds: type) -> Any:
        if not self.stack or type(self.stack[-1]) not in kinds:
            found = name_of(self.stack[-1]) if self.stack else "nothing"
            raise refuse(f"its pickle would fill {found}, not a plain container")
        return self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict, OrderedDict)
        if len(items) % 2:
            raise refuse("its pickle is damaged: a key without a value")
        for key, value in zip(items[::2], items[1::2]):
            target[hashable(key)] = value

    def append(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise refuse(f"its pickle is damaged: there is no remembered object {index}")
        self.push(self.memo[index])

    def remember(self, index: int) -> None:
        if not self.stack:
            raise refuse("its pickle is damaged: nothing to remember")
        self.memo[index] = self.stack[-1]

    def find(self, module: Any, name: Any) -> None:
        self.push(self.named(module, name))

    def call(self, new: bool = False) -> None:
        """Call a function; `new`: make an object of a class without calling that."""
        arguments, function = self.pop(), self.pop()
        allowed = any(function is each for each in self.allowed)
        if (not allowed and not isinstance(function, Function)) or type(arguments) is not tuple:
            raise refuse(f"its pickle would call {name_of(function)}, which is not allowed")
        for argument in arguments:
            if isinstance(argument, (str, bytes, bytearray, list, tuple, dict, set, frozenset)):
                self.call_budget -= len(argument)
        if self.call_budget < 0:
            raise refuse("its pickle would expand to far more than its size; it is not a file of weights")
        try:
            if allowed:
                made = function.__new__(function, *arguments) if new else function(*arguments)
                self.built.append(made)
            else:
                made = function.run(*arguments)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            shown = function.__qualname__ if allowed else function.name
            raise refuse(f"its pickle calls {shown} with wrong arguments ({error})") from None
        self.push(made)

    def build(self) -> None:
        state = self.pop()
        self.top_any()
        if any(self.stack[-1] is each for each in self.built):
            self._set_state(self.stack[-1], state)
            return
        filler = self.fillers.get(np.dtype if isinstance(self.stack[-1], np.dtype) else type(self.stack[-1]))
        if filler is not None:
            filler(self.stack[-1], state)
            return
        target = self.top(OrderedDict)
        if type(state) is not dict or set(state) - {"_metadata"}:
            raise refuse("its pickle would set attributes of an OrderedDict other than _metadata")
        vars(target).update(state)

    @staticmethod
    def _set_state(made: Any, state: Any) -> None:
        """Give an object of an allowed class its attributes."""
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
            return
        attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
        vars(made).update(attributes or {})
        for name, value in (slots or {}).items():
            setattr(made, name, value)


def elements(items: Any) -> list[Any]:
    if type(items) not in (list, tuple, set, frozenset):
        raise refuse("its pickle would make a set of something else than a list")
    return [hashable(item) for item in items]


def hashable(key: Any) -> Any:
    """A dictionary key or set element of a plain, immutable kind, whose hash is cheap."""
    waiting, seen = [key], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if seen > 1000:
            raise refuse("its pickle has a dictionary key or set element of more than 1000 parts")
        if type(item) in (tuple, frozenset):
            if len(item) > 1000:
                raise refuse("its pickle has a dictionary key or set element of more than 1000 parts")
            waiting.extend(item)
        elif item is not None and type(item) not in (bool, int, float, complex, str, bytes):
            if kind_of(item) not in ("dtype", "device", "size"):
                raise refuse(f"its pickle uses {name_of(item)} as a dictionary key or set element")
    return key


# The instructions, by their code.  Those of protocol 2, which PyTorch uses, and their successors up to protocol 5.
_OPCODES: dict[bytes, Callable[[Machine], Any]] = {
    b"\x80": lambda vm: vm.take(1),  # PROTO
    b"\x95": lambda vm: vm.take(8),  # FRAME
    b"(": lambda vm: vm.marks.append(len(vm.stack)),  # MARK
    b"0": lambda vm: vm.pop(),  # POP
    b"1": lambda vm: vm.pop_mark(),  # POP_MARK
    b"N": lambda vm: vm.push(None),
    b"\x88": lambda vm: vm.push(True),
    b"\x89": lambda vm: vm.push(False),
    b"J": lambda vm: vm.push(vm.number("<i")),  # BININT
    b"K": lambda vm: vm.push(vm.number("<B")),  # BININT1
    b"M": lambda vm: vm.push(vm.number("<H")),  # BININT2
    b"\x8a": lambda vm: vm.push(int.from_bytes(vm.take(vm.number("<B")), "little", signed=True)),  # LONG1
    b"\x8b": lambda vm: vm.push(int.from_bytes(vm.take(vm.number("<I")), "little", signed=True)),  # LONG4
    b"G": lambda vm: vm.push(vm.number(">d")),  # BINFLOAT
    b"\x8c": lambda vm: vm.push(vm.take(vm.number("<B")).decode("utf-8", "surrogatepass")),  # SHORT_BINUNICODE
    b"X": lambda vm: vm.push(vm.take(vm.number("<I")).decode("utf-8", "surrogatepass")),  # BINUNICODE
    b"\x8d": lambda vm: vm.push(vm.take(vm.number("<Q")).decode("utf-8", "surrogatepass")),  # BINUNICODE8
    b"U": lambda vm: vm.push(vm.take(vm.number("<B")).decode("utf-8")),  # SHORT_BINSTRING: Python 2's texts
    b"T": lambda vm: vm.push(vm.take(vm.number("<I")).decode("utf-8")),  # BINSTRING
    b"C": lambda vm: vm.push(vm.take(vm.number("<B"))),  # SHORT_BINBYTES
    b"B": lambda vm: vm.push(vm.take(vm.number("<I"))),  # BINBYTES
    b"\x8e": lambda vm: vm.push(vm.take(vm.number("<Q"))),  # BINBYTES8
    b"\x96": lambda vm: vm.push(bytearray(vm.take(vm.number("<Q")))),  # BYTEARRAY8
    b"]": lambda vm: vm.push([]),
    b")": lambda vm: vm.push(()),
    b"}": lambda vm: vm.push({}),
    b"\x8f": lambda vm: vm.push(set()),  # EMPTY_SET
    b"a": lambda vm: vm.append([vm.pop()]),  # APPEND
    b"e": lambda vm: vm.append(vm.pop_mark()),  # APPENDS
    b"\x90": lambda vm: _add_items(vm, vm.pop_mark()),  # ADDITEMS
    b"\x91": lambda vm: vm.push(frozenset(elements(vm.pop_mark()))),  # FROZENSET
    b"s": lambda vm: vm.set_items([vm.pop(), vm.pop()][::-1]),  # SETITEM
    b"u": lambda vm: vm.set_items(vm.pop_mark()),  # SETITEMS
    b"t": lambda vm: vm.push(tuple(vm.pop_mark())),  # TUPLE
    b"\x85": lambda vm: vm.push((vm.pop(),)),  # TUPLE1
    b"\x86": lambda vm: vm.push((vm.pop(), vm.pop())[::-1]),  # TUPLE2
    b"\x87": lambda vm: vm.push((vm.pop(), vm.pop(), vm.pop())[::-1]),  # TUPLE3
    b"h": lambda vm: vm.get(vm.number("<B")),  # BINGET
    b"j": lambda vm: vm.get(vm.number("<I")),  # LONG_BINGET
    b"q": lambda vm: vm.remember(vm.number("<B")),  # BINPUT
    b"r": lambda vm: vm.remember(vm.number("<I")),  # LONG_BINPUT
    b"\x94": lambda vm: vm.remember(len(vm.memo)),  # MEMOIZE
    b"c": lambda vm: vm.find(vm.line(), vm.line()),  # GLOBAL
    b"\x93": lambda vm: vm.find(*(vm.pop(), vm.pop())[::-1]),  # STACK_GLOBAL
    b"R": lambda vm: vm.call(),  # REDUCE
    b"\x81": lambda vm: vm.call(new=True),  # NEWOBJ
    b"b": lambda vm: vm.build(),  # BUILD
    b"Q": lambda vm: vm.push(vm.persistent(vm.pop())),  # BINPERSID
}


def _add_items(vm: Machine, items: list[Any]) -> None:
    vm.top(set).update(elements(items))
