"""Compiled functions do what their Python source does: results, errors, references, and their place in the library."""

import copy
import gc
import importlib
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import types

import hot_programs as programs
import numpy as np
import pytest

import livegrad
from livegrad.native import HOT, SLOTTED, layout, library, unit
from livegrad.native.constants import module_of, symbol
from livegrad.native.lower import lower
from livegrad.native.world import Unsupported, World

pytestmark = pytest.mark.skipif(not layout.supported(), reason="functions are compiled for CPython 3.11 to 3.13")

NAMES = [
    name
    for name, value in vars(programs).items()
    if isinstance(value, types.FunctionType) and value.__module__ == programs.__name__
]
CLOSURE = programs.make_closure("base")


@pytest.fixture(scope="module")
def compiled():
    """Everything in `hot_programs`, compiled together, by name."""
    SLOTTED.append(programs.Slots)
    try:
        functions = [getattr(programs, name) for name in NAMES if name not in ("make_closure", "counting")] + [CLOSURE]
        functions.append(programs.WithInit.__init__)
        made = unit.Installer().compile(functions)
    finally:
        SLOTTED.remove(programs.Slots)
    return {f.__name__: m for f, m in zip(functions, made)}


def slotted(x="x"):
    s = programs.Slots()
    s.x = x
    return s


class Unlike:
    """Not a class that is known to have slots."""

    x = "class"


class Broken:
    def __bool__(self):
        raise ZeroDivisionError("no truth")

    def __iter__(self):
        yield 1
        raise KeyError("in the middle")

    def __eq__(self, other):
        raise OverflowError("no comparing")

    __hash__ = None


class Elementwise:
    """Comparing gives what is no truth value, as tensors do."""

    def compare(self, other):
        return ["compared"]

    __eq__ = __ne__ = __lt__ = __gt__ = compare
    __hash__ = None


NAN = float("nan")
NANS = (NAN, "text")

CASES = {
    "arithmetic": [(7, 3), (2.5, 1), (10**30, 3), (7, 0), ("a", 1), (5, None)],
    "comparisons": [(1, 2), (2.0, 2), ("a", "b"), (1, "a"), (float("nan"), 1), (Broken(), 1)],
    "conditions": [(a, b, c) for a in (0, 1) for b in ("", "b") for c in ([], [1])] + [(Broken(), 1, 1)],
    "membership": [(1, (1, 2)), ("z", "abc"), (1, 5), (Broken(), [1])],
    "slots": [(slotted(), 5), (Unlike(), 6), (5, 5)],
    "missing_slot": [(slotted(),), (Unlike(),), (None,)],
    "stated_by_the_class": [(slotted(),), (Unlike(),), (livegrad.ones(1),), (5,)],
    "new_objects": [(1, 2)],
    "loops": [([1, 2, 3], 9), ((1, 2, 3), 3), (iter("abcd"), "d"), ({}, 0), (Broken(), 7), (5, 1)],
    "decided": [
        (1, 2),
        (2, 1),
        (0, 0),
        (-3, 2),
        ((1 << 30) - 1, 1 << 30),
        (1 << 30, 1 << 30),
        (-(1 << 70), 1 << 70),
        (2, 2.0),
        (True, 1),
        ("a", "a"),
        ("a", "b"),
        (NAN, NAN),
        ((NAN,), (NAN,)),
        (NANS, NANS),
        ((1, 2), (1, 2)),
        ([], []),
        (Broken(), 1),
        (1, Broken()),
        (Elementwise(), 1),
        (1, "a"),
        (None, None),
    ],
    "whole_numbers": [
        (3, 4),
        (0, -5),
        (-7, 49),
        ((1 << 30) - 1, (1 << 30) - 1),
        (1 << 30, -1),
        (1 << 62, 1 << 62),
        (2, 2.5),
        (True, 2),
        ("a", 1),
        ([1], [2]),
        (1, None),
        (Broken(), 1),
    ],
    "together": [
        ([1, 2, 3], (4, 5)),
        ((), [1]),
        ((1, 2), (1, 2)),
        ("ab", "cd"),
        ([1], 5),
        (iter("abcd"), [1]),
        (Broken(), [2, 3]),
        ([1, "a"], [2, 3]),
    ],
    "growing": [([1, 2, 3],), ([],), ([1],)],
    "counting_up": [
        (5, 1),
        (2, 0),
        (0, 0),
        (-3, 2),
        (3, -2),
        (2.5, 0),
        (3, "a"),
        (True, False),
        (-1, 1 << 70),
        (3, 1 << 70),
    ],
    "unpacking": [((1, 2), [(1, (2, 3))]), ([1, 2], ()), ((1, 2, 3), ()), ((1, 2), [(1, (2,))])],
    "comprehensions": [([1, 2, 3], 2), ((1,), "ab"), (range(4), 3), ((), 1), ([1, None], 1), (Broken(), 1)],
    "indexing": [((1, 2, 3), {}, "k"), ([4, 5, 6], {}, 1), ((), {}, 1), ("abc", {}, 1), ((1,), {}, [])],
    "strings": [("text", 2.0), (5, 0), ("text", "text")],
    "calls": [(1, -5, 3), (), (1,)],
    "keywords": [(), (1,), (1, 2, 3, 4)],
    "caught": [([1, 2], 1), ([1], 5), (["a"], 0), ({}, 0)],
    "cleaned": [([1], 0), ([1], 3)],
    "noted": [([1], 0), ([1], 3), ({}, 1), (5, 1)],
    "locked": [([1, 2], 2), ([1], 3), (5, 1)],
    "raising": [(1,), (5,), ("a",)],
    "fails_inside": [([1, 2],), ([1, 7],)],
    "array_over": [
        (np.arange(6), (2, 3), None),
        (np.arange(6.0), (3,), (16,)),
        (np.arange(6), (2, 2, 2), (0, 8, 8)),
        (np.arange(3), (), None),
        (np.arange(3), (0, 2), None),
    ],
    "left_out": [("a",), ("c",)],
    "recursive": [(1,), (10,)],
    "unbound": [(True,), (False,)],
    "ping": [(10,)],
    "pong": [("a",)],
    "updates": [(3, 4, [1, 2]), (2.5, 2, [1]), (3, 4, ())],
    "counted_from": [([5, 6], 3), ((), 1), ("ab", 0), (5, 1)],
    "raise_what": [(ValueError("x"), True), (ValueError, True), (5, True), (None, False)],
    "handled": [([1, 2], 1), ([1], 3), ([1], 9), ({}, 0)],
    "nested_handlers": [([1], 0), ([1], 3), ({}, "z"), (5, 1)],
    "failing_cleanup": [([1], 0), ([1], 3)],
    "identical": [(1, 2), (float("nan"), 1), (Broken(), 1), (Elementwise(), 1)],
    "first_of": [([1, 2, 3],), ((),), (5,), (["a"],)],
    "next_of": [(iter("abcd"),), (5,)],
    "spread": [(1,), ()],
    "inner": [(1,), (1, 2), ()],
    "<lambda>": [(1,), (1, 2, 3), ()],
}


def outcome(f, *args, **kwargs):
    try:
        return "result", f(*args, **kwargs)
    except Exception as error:
        return (
            type(error),
            str(error) if not isinstance(error, UnboundLocalError) else "",
            getattr(error, "__notes__", []),
        )


def original(name):
    return CLOSURE if name == "inner" else programs.PAIR if name == "<lambda>" else getattr(programs, name)


@pytest.mark.parametrize("name", CASES)
def test_does_what_python_does(compiled, name):
    for args in CASES[name]:
        mine = outcome(compiled[name], *copy_of(args))
        theirs = outcome(original(name), *copy_of(args))
        assert repr(mine) == repr(theirs), args
        assert not programs.LOCK._is_owned()


def copy_of(args):
    return [
        iter("abcd") if hasattr(a, "__next__") else a if isinstance(a, (Broken, Elementwise)) else copy.copy(a)
        for a in args
    ]


@pytest.mark.parametrize(
    "name, args, kwargs",
    [
        ("keywords", (1,), {"b": 5}), ("keywords", (1, 2, 3), {"c": 5}), ("keywords", (), {"a": 1, "c": 2}),
        ("keywords", (1,), {"z": 1}), ("keywords", (1,), {"a": 1}), ("inner", (), {"x": 1, "y": 2}),
        ("inner", (1,), {"z": 2}), ("calls", (2, 1), {"first": 7, "other": 8}), ("raising", (), {"n": 2}),
        ("raising", (1, 2), {}), ("spread", (), {"".join("ab"[:1]): 1, "".join(["b", ""]): 5, "c": 6}),
        ("spread", (1,), {"".join(["", "a"]): 2}), ("spread", (), {}),
    ],
)  # fmt: skip
def test_arguments_by_name(compiled, name, args, kwargs):
    assert repr(outcome(compiled[name], *args, **kwargs)) == repr(outcome(original(name), *args, **kwargs))


def text(*parts):
    """A string of its own, which is not interned."""
    return "".join(parts)


def test_names_that_were_put_together(compiled):
    for names in ({text("fi", "rst"): 1}, {text("fi", "rst"): 1, text("sec", "ond"): 2}):
        for name in ("calls", "spread"):
            args = (4,)
            assert repr(outcome(compiled[name], *args, **names)) == repr(outcome(original(name), *args, **names))
    assert compiled["spread"](1, **{text("", "mo", "re"): 3, text("b", "b")[:1]: 2}) == (1, 2, {"more": 3})
    assert compiled["calls"](2, **{text("fir", "st"): 7}) == programs.calls(2, first=7)


@pytest.mark.parametrize("name", ["recursive", "ping"])
def test_recursion_has_an_end(compiled, name):
    with pytest.raises(RecursionError):
        compiled[name](10_000_000)
    assert compiled[name](50) == original(name)(50)  # nothing is counted for ever


def test_recursion_by_way_of_a_value(compiled):
    class Deep:
        def __eq__(self, other):
            return compiled["identical"](self, other)

    with pytest.raises(RecursionError):
        compiled["identical"](Deep(), 1)


def test_globals_that_change_are_read_each_time(compiled):
    programs.counter = 10
    assert programs.counting() == 11
    programs.counter = 20
    with pytest.raises(Unsupported):  # it rebinds a global name, which compiled code does not
        lower_one(programs.counting)


def lower_one(f):
    from livegrad.native.emit import Unit

    world = World({f.__code__: f}, symbol, [], set(), module_of)
    lower(Unit(f.__module__), world, f)


def test_what_cannot_be_compiled_is_refused():
    def with_import():
        import os

        return os

    def with_lambda(x):
        return lambda: x

    def with_delete(x):
        del x

    def with_part_of_a_generator(items):
        return next(x for x in items)

    for f in (with_import, with_lambda, with_delete, with_part_of_a_generator):
        with pytest.raises(Unsupported, match="hot function"):
            lower_one(f)


@pytest.mark.parametrize("name", CASES)
def test_references_are_kept_in_balance(compiled, name):
    """Calls, those that fail too, leave no object behind and free none too early."""
    f = compiled[name]

    def calls():
        for args in CASES[name]:
            outcome(f, *copy_of(args))

    tracked = [object(), "a text of its own" * 2]
    for _ in range(20):
        calls()
    gc.collect()
    programs.LOG.clear()
    before = sys.getallocatedblocks()
    counts = [sys.getrefcount(x) for x in tracked], sys.getrefcount(None)
    for _ in range(300):
        calls()
    programs.LOG.clear()
    gc.collect()
    assert [sys.getrefcount(x) for x in tracked] == counts[0]
    assert abs(sys.getrefcount(None) - counts[1]) < 50
    assert sys.getallocatedblocks() - before < 100


def test_methods_bind(compiled):
    class Holder:
        method = compiled["keywords"]
        plain = staticmethod(compiled["recursive"])

    h = Holder()
    assert h.method(7, c=8) == (h, 7, (), 8)
    assert Holder.method(1, 2) == (1, 2, (), 3)
    assert Holder.plain(4) == h.plain(4) == 24


def test_every_hot_function_can_be_compiled():
    for module in library.marked():
        importlib.import_module(module)
    world = World({code: made[0] for code, made in HOT.items()}, symbol, SLOTTED, set(), module_of)
    from livegrad.native.emit import Unit

    u = Unit("all")
    for made in HOT.values():
        lower(u, world, made[0])
    assert len(HOT) > 100


def test_installed_functions_look_like_themselves():
    import livegrad.nn.functional  # loaded when it is asked for, so perhaps not yet

    unit.install(wait=True)
    assert unit.installed(), unit.failure()
    add = livegrad.Tensor.__add__
    if isinstance(add, types.FunctionType):  # where another test has overridden functions
        add = add.__wrapped__
    assert type(add).__name__ == "compiled_function"
    linear = livegrad.nn.functional.linear
    assert type(linear).__name__ == "compiled_function"
    assert pickle.loads(pickle.dumps(linear)) is linear
    assert copy.deepcopy(livegrad.mean) is livegrad.mean
    assert "sum over" in livegrad.sum.__doc__
    import inspect

    assert "keepdim" in inspect.signature(livegrad.Tensor.sum).parameters


def test_functions_held_from_before_can_be_pickled():
    program = """
        import pickle, livegrad, livegrad.nn.functional as F
        from livegrad.native import unit
        relu, total = F.relu, livegrad.sum
        model = livegrad.nn.TransformerEncoderLayer(8, 2, 8, activation=relu)
        unit.install(wait=True)
        assert unit.installed()
        for f in (relu, total):
            assert pickle.loads(pickle.dumps(f)) is f
        assert total is livegrad.sum
        assert total == livegrad.sum == total != relu and {total: 1, relu: 2}[livegrad.sum] == 1
        class Duck:
            __torch_function__ = classmethod(lambda cls, func, types, args=(), kwargs=None: {total: 3}[func])
        assert livegrad.sum(Duck()) == 3
        pickle.loads(pickle.dumps(model))
        import sys
        sys.stdout.write(pickle.dumps([total, relu]).hex())
    """
    env = {k: v for k, v in os.environ.items() if k != "LIVEGRAD_NATIVE"}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    F = livegrad.nn.functional
    total, relu = pickle.loads(bytes.fromhex(done.stdout))
    assert total(livegrad.ones(3)).item() == 3
    assert relu(livegrad.ones(2)).tolist() == F.relu(livegrad.ones(2)).tolist() == [1, 1]
    with pytest.raises(AttributeError):
        __import__("livegrad.native.originals").native.originals.nothing  # noqa: B018


def test_wrong_arguments_are_named_as_ever():
    import livegrad.nn.functional as F

    unit.install(wait=True)
    with pytest.raises(TypeError, match=r"^linear\(\) missing 2 required positional arguments"):
        F.linear()


def test_errors_come_from_the_users_line():
    unit.install(wait=True)
    a, b = livegrad.ones(2), livegrad.ones(3)
    try:
        a + b
    except RuntimeError as error:
        where = error.__traceback__
        assert where.tb_frame.f_code.co_filename == __file__
    else:
        raise AssertionError("shapes that do not fit")


def test_operators_declared_later_are_compiled_too():
    from livegrad.ops.registry import elementwise

    unit.install(wait=True)
    bump = elementwise("_native_bump", lambda x: x * x + 1, reference="")
    x = livegrad.tensor([1.0, 2.0], requires_grad=True)
    y = x._native_bump()
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    assert bump(x).tolist() == [2.0, 5.0]


def test_threads_record_side_by_side():
    unit.install(wait=True)
    results = []

    def work(k):
        x = livegrad.full((3,), float(k), requires_grad=True)
        for _ in range(200):
            x.grad = None
            ((x * 2 + 1) ** 2).sum().backward()
        results.append((k, x.grad.tolist()))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [(k, [4.0 * (2 * k + 1)] * 3) for k in range(4)]
