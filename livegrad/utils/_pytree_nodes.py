"""The containers that trees are made of: how each comes apart and is put together, what its parts are called.

A kind is registered once, by its type; everything that walks over trees (`_pytree`) asks here.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..site import warn

Context = Any
PyTree = Any


class NodeDef(NamedTuple):
    """A kind of container.

    flatten_fn: (parts, context) of a container; unflatten_fn: the container of parts and a context;
    flatten_with_keys_fn: like flatten_fn, with (key, part) for each part, or None.
    """

    type: Any
    flatten_fn: Callable[[Any], tuple[list, Context]]
    unflatten_fn: Callable[[Iterable, Context], Any]
    flatten_with_keys_fn: Callable[[Any], tuple[list, Context]] | None


SUPPORTED_NODES: dict[Any, NodeDef] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class SequenceKey:
    """A place in a sequence: `str` gives ``[0]``."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        return sequence[self.idx]


@dataclasses.dataclass(frozen=True, slots=True)
class MappingKey:
    """A key of a mapping: `str` gives ``['a']``."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        return mapping[self.key]


@dataclasses.dataclass(frozen=True, slots=True)
class GetAttrKey:
    """An attribute: `str` gives ``.a``."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, obj: Any) -> Any:
        return getattr(obj, self.name)


def register_pytree_node(
    cls: type,
    flatten_fn: Callable,
    unflatten_fn: Callable,
    *,
    serialized_type_name: str | None = None,
    to_dumpable_context: Callable | None = None,
    from_dumpable_context: Callable | None = None,
    flatten_with_keys_fn: Callable | None = None,
) -> None:
    """Make containers of a type come apart in trees. Subclasses are types of their own, and stay leaves.

    flatten_fn: the list of parts of a container, and a context; unflatten_fn: the container, from parts and context.
    flatten_with_keys_fn: like flatten_fn, with (key, part) in place of a part; `tree_flatten_with_path` needs it.
    The other three say how a description of a tree is written to a file; nothing here does that.
    Raises ValueError for a type that is registered already, or if only one direction of a context's text is given.

    >>> from livegrad.utils import _pytree
    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> _pytree.register_pytree_node(Pair, lambda p: ([p.a, p.b], None), lambda parts, context: Pair(*parts))
    >>> doubled = _pytree.tree_map(lambda x: 2 * x, [Pair(1, 2), 3])
    >>> doubled[0].a, doubled[0].b, doubled[1]
    (2, 4, 6)
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    if (to_dumpable_context is None) != (from_dumpable_context is None):
        raise ValueError(f"Both to_dumpable_context and from_dumpable_context for {cls} must be None or registered.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn)


def _register_pytree_node(
    cls: type,
    flatten_fn: Callable,
    unflatten_fn: Callable,
    to_str_fn: Callable | None = None,
    maybe_from_str_fn: Callable | None = None,
    **options: Any,
) -> None:
    """`register_pytree_node` as it was called once; a second registration replaces the first, with a warning."""
    if to_str_fn is not None or maybe_from_str_fn is not None:
        warn(
            "`to_str_fn` and `maybe_from_str_fn` is deprecated. "
            "Please use `to_dumpable_context` and `from_dumpable_context` instead.",
            FutureWarning,
        )
    if SUPPORTED_NODES.pop(cls, None) is not None:
        warn(f"{cls} is already registered as pytree node. Overwriting the previous registration.")
    register_pytree_node(cls, flatten_fn, unflatten_fn, **options)


def _deregister_pytree_node(cls: type) -> None:
    """Forget a kind of container. Raises KeyError for a type that is not registered."""
    del SUPPORTED_NODES[cls]


def register_dataclass(
    cls: type,
    *,
    field_names: list[str] | None = None,
    drop_field_names: list[str] | None = None,
    serialized_type_name: str | None = None,
) -> None:
    """Make instances of a dataclass, or of a class whose fields are its arguments, come apart into their fields.

    A field that is None has no part. field_names: which fields; a class that is no dataclass needs them.
    Raises ValueError if they are missing, or are not all fields of a dataclass but for `drop_field_names`.

    >>> import dataclasses
    >>> from livegrad.utils import _pytree
    >>> @dataclasses.dataclass
    ... class Point:
    ...     x: int
    ...     y: int
    >>> _pytree.register_dataclass(Point)
    >>> _pytree.tree_map(lambda v: v + 1, Point(1, 2))
    Point(x=2, y=3)
    """
    if dataclasses.is_dataclass(cls):
        given = {field.name for field in dataclasses.fields(cls) if field.init}
        if field_names is None:
            field_names = [field.name for field in dataclasses.fields(cls) if field.init]
        else:
            _compare_fields(given - set(drop_field_names or ()), set(field_names))
    elif field_names is None:
        raise ValueError(
            f"field_names must be specified with a list of all fields used to initialize {cls}, as it is not a "
            "dataclass."
        )
    names = list(field_names)

    def split(obj: Any) -> tuple[list, Context]:
        values = {name: getattr(obj, name) for name in names}
        present = [name for name in names if values[name] is not None]
        return [values[name] for name in present], [present, [name for name in names if values[name] is None]]

    def join(parts: Iterable, context: Context) -> Any:
        return cls(**dict(zip(context[0], parts, strict=True)), **dict.fromkeys(context[1]))

    def split_with_keys(obj: Any) -> tuple[list, Context]:
        parts, context = split(obj)
        return [(GetAttrKey(name), part) for name, part in zip(context[0], parts)], context

    SUPPORTED_NODES.pop(cls, None)
    register_pytree_node(cls, split, join, flatten_with_keys_fn=split_with_keys)


def _compare_fields(expected: set, given: set) -> None:
    """Raise unless the names are those of a dataclass's fields."""
    if expected == given:
        return
    message = "field_names does not include all dataclass fields.\n"
    if expected - given:
        message += (
            f"Missing fields in `field_names`: {expected - given}. If you want to include these fields in the pytree, "
            "please add them to `field_names`, otherwise please add them to `drop_field_names`.\n"
        )
    if given - expected:
        message += (
            f"Unexpected fields in `field_names`: {given - expected}. Please remove these fields, or add them to "
            "`drop_field_names`.\n"
        )
    raise ValueError(message)


def register_constant(cls: type) -> None:
    """Make instances of a type parts of the description of a tree, with no leaves: two are the same if they are equal.

    Raises TypeError for a type that compares by identity.
    """
    if cls.__eq__ is object.__eq__:
        raise TypeError("register_constant(cls) expects `cls` to have a non-default `__eq__` implementation.")
    if cls.__hash__ is None:
        raise TypeError("register_constant(cls) expects `cls` to have a non-default `__hash__` implementation.")
    SUPPORTED_NODES.pop(cls, None)
    register_pytree_node(cls, lambda x: ([], x), lambda parts, context: context, flatten_with_keys_fn=lambda x: ([], x))


def is_namedtuple_class(cls: Any) -> bool:
    """Whether a type is a named tuple's."""
    return (
        isinstance(cls, type)
        and issubclass(cls, tuple)
        and isinstance(getattr(cls, "_fields", None), tuple)
        and all(type(field) is str for field in cls._fields)  # type: ignore[attr-defined]
        and callable(getattr(cls, "_make", None))
        and callable(getattr(cls, "_asdict", None))
    )


def is_namedtuple_instance(obj: Any) -> bool:
    """Whether an object is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj: Any) -> bool:
    """Whether an object is a named tuple, or the type of some."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def is_structseq_class(cls: Any) -> bool:
    """Whether a type is one of the interpreter's own named sequences, such as `time.struct_time`."""
    return (
        isinstance(cls, type)
        and cls.__base__ is tuple
        and all(isinstance(getattr(cls, n, None), int) for n in ("n_fields", "n_sequence_fields", "n_unnamed_fields"))
    )


def is_structseq_instance(obj: Any) -> bool:
    """Whether an object is one of the interpreter's own named sequences."""
    return is_structseq_class(type(obj))


def _get_node_type(tree: Any) -> Any:
    """What a tree's outermost container is registered as: all named tuples as `collections.namedtuple`."""
    kind = type(tree)
    return namedtuple if issubclass(kind, tuple) and is_namedtuple_class(kind) else kind


# --- sequences ----------------------------------------------------------------------------------------------------


def _list_flatten(d: Any) -> tuple[list, Context]:
    return d, None


def _list_unflatten(values: Iterable, context: Context) -> list:
    return list(values)


def _tuple_flatten(d: tuple) -> tuple[list, Context]:
    return list(d), None


def _tuple_unflatten(values: Iterable, context: Context) -> tuple:
    return tuple(values)


def _list_flatten_with_keys(d: Any) -> tuple[list, Context]:
    return [(SequenceKey(i), x) for i, x in enumerate(d)], None


def _deque_flatten(d: deque) -> tuple[list, Context]:
    return list(d), d.maxlen


def _deque_flatten_with_keys(d: deque) -> tuple[list, Context]:
    return _list_flatten_with_keys(d)[0], d.maxlen


def _deque_unflatten(values: Iterable, context: Context) -> deque:
    return deque(values, maxlen=context)


def _namedtuple_flatten(d: Any) -> tuple[list, Context]:
    return list(d), type(d)


def _namedtuple_flatten_with_keys(d: Any) -> tuple[list, Context]:
    return [(GetAttrKey(name), x) for name, x in zip(d._fields, d)], type(d)


def _namedtuple_unflatten(values: Iterable, context: Context) -> Any:
    return context(*values)


# --- mappings -----------------------------------------------------------------------------------------------------


def _dict_flatten(d: Any) -> tuple[list, Context]:
    return list(d.values()), list(d)


def _dict_flatten_with_keys(d: Any) -> tuple[list, Context]:
    return [(MappingKey(key), x) for key, x in d.items()], list(d)


def _dict_unflatten(values: Iterable, context: Context) -> dict:
    return dict(zip(context, values))


def _ordereddict_unflatten(values: Iterable, context: Context) -> OrderedDict:
    return OrderedDict(zip(context, values))


def _defaultdict_flatten(d: defaultdict) -> tuple[list, Context]:
    return list(d.values()), [d.default_factory, list(d)]


def _defaultdict_flatten_with_keys(d: defaultdict) -> tuple[list, Context]:
    return _dict_flatten_with_keys(d)[0], [d.default_factory, list(d)]


def _defaultdict_unflatten(values: Iterable, context: Context) -> defaultdict:
    return defaultdict(context[0], zip(context[1], values))


_tuple_flatten_with_keys = _list_flatten_with_keys
_ordereddict_flatten, _ordereddict_flatten_with_keys = _dict_flatten, _dict_flatten_with_keys
for _node in (
    NodeDef(tuple, _tuple_flatten, _tuple_unflatten, _tuple_flatten_with_keys),
    NodeDef(list, _list_flatten, _list_unflatten, _list_flatten_with_keys),
    NodeDef(dict, _dict_flatten, _dict_unflatten, _dict_flatten_with_keys),
    NodeDef(namedtuple, _namedtuple_flatten, _namedtuple_unflatten, _namedtuple_flatten_with_keys),
    NodeDef(OrderedDict, _ordereddict_flatten, _ordereddict_unflatten, _ordereddict_flatten_with_keys),
    NodeDef(defaultdict, _defaultdict_flatten, _defaultdict_unflatten, _defaultdict_flatten_with_keys),
    NodeDef(deque, _deque_flatten, _deque_unflatten, _deque_flatten_with_keys),
):
    SUPPORTED_NODES[_node.type] = _node
STANDARD_DICT_TYPES = frozenset({dict, OrderedDict, defaultdict})
BUILTIN_TYPES = frozenset(SUPPORTED_NODES)

__all__ = [
    "BUILTIN_TYPES", "Context", "GetAttrKey", "MappingKey", "NodeDef", "PyTree", "STANDARD_DICT_TYPES",
    "SUPPORTED_NODES", "SequenceKey", "is_namedtuple", "is_namedtuple_class", "is_namedtuple_instance",
    "is_structseq_class", "is_structseq_instance", "register_constant", "register_dataclass", "register_pytree_node",
]  # fmt: skip
