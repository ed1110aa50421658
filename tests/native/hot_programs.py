"""Functions that the tests compile: each uses a part of the language, and is compared with itself in Python."""

import threading
from typing import Any

from livegrad.runtime import raw

LOCK = threading.RLock()
LOG: list = []
counter = 0


class Slots:
    __slots__ = ("x", "y", "__weakref__")
    is_leaf = True


class WithInit:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any = 5):
        self.a = a
        self.b = b


def arithmetic(a, b):
    c = a + b * 2 - 1
    c -= b
    d = c // 3 % 5 if b else -c
    return (c, d, a / (b + 1), a**2, -a, a & b, a | b, a << 1, a >> 1)


def comparisons(a, b):
    return [a < b, a <= b, a == b, a != b, a > b, a >= b, a is b, a is not b, not a, 0 <= a < b]


def conditions(a, b, c):
    if a and (b or not c):
        x = "first"
    elif b or c:
        x = "second"
    else:
        x = "third"
    return x, a and b or c, (a or b) and c, b if a else c


def membership(x, items):
    return x in items, x not in items


def slots(o, value):
    before = o.x
    o.x = value
    o.y = before
    return o.x, o.y


def missing_slot(o):
    return o.y


def stated_by_the_class(o):
    return o.is_leaf


def new_objects(a, b):
    s = Slots()
    s.x = a
    s.y = (a, b)
    w = WithInit(a)
    v = WithInit(a, b)
    return s.x, s.y, w.a, w.b, v.b, WithInit.__name__


def loops(items, stop):
    out = []
    for i, x in enumerate(items):
        if x == stop:
            break
        if i == 1:
            continue
        out.append((i, x))
    else:
        out.append("end")
    n = 0
    while n < 5:
        n += 1
        if n == 3:
            continue
        out.append(n)
    return out


def decided(a, b):
    found = []
    if a == b:
        found.append("==")
    if a != b:
        found.append("!=")
    if a < b:
        found.append("<")
    if a >= b and not a > b:
        found.append("neither")
    return found, 1 if a <= b else 0


def whole_numbers(a, b):
    c = a + b
    d = a - b
    e = a * b
    e += c
    e -= d
    e *= a
    return c, d, e, c == d, a if a * a == b else e


def together(a, b):
    rows = [x + y for x, y in zip(a, b)]
    for i, (x, y) in enumerate(zip(a, b)):
        rows.append((i, x, y))
        if i == 1 and x is a:
            break
    for pair in zip(a, b):
        rows.append(pair)
    return rows, tuple([(y, x) for x, y in zip(a, b)]), all(x == y for x, y in zip(a, b))


def growing(items):
    """Lists that change while they are walked."""
    seen = []
    for x, y in zip(items, items):
        seen.append(x)
        if len(items) < 6:
            items.append(y + 1)
    for x in items:
        seen.append(x)
        items.pop()
    return seen, [items.append(x) or len(items) for x in items if len(items) < 9]


def counting_up(n, first):
    total = []
    for i in range(n):
        if i == 3:
            break
        total.append(i)
    else:
        total.append("all")
    for k, i in enumerate(range(first, n)):
        total.append((k, i))
    n = n + 1 if first else n
    return total, [i * i for i in range(n) if i], tuple([i + 1 for i in range(first, n)])


def unpacking(pair, rows):
    a, b = pair
    a, b = b, a
    total = []
    for x, (y, z) in rows:
        total.append(x + y + z)
    return a, b, total


def comprehensions(items, factor):
    squares = [x * x for x in items if x > 1]
    scaled = tuple([x * factor for x in items])
    indexed = tuple([(i, x) for i, x in enumerate(items)])
    return squares, scaled, indexed, any(x > 2 for x in items), all(x > 0 for x in items), sum(x for x in items)


def indexing(t, d, k):
    d[k] = t[0]
    d[k] += 1
    return t[0], t[-1], t[1:], t[::2], d[k], d.get(k), d.get("nothing"), {"one": 1, k: 2}


def strings(a, b):
    return f"{a} and {b!r}, {a:>5}{b:.2f}" if b else f"{a}"


def calls(*args: Any, first=1, **more: Any):
    return keywords(*args), keywords(1, c=4), keywords(first, 2, 3), sorted(more.items()), max(args, key=abs)


def keywords(a, b=2, *rest: Any, c=3):
    return a, b, rest, c


def caught(items, k):
    try:
        x = items[k]
        x = x + 1
    except IndexError:
        x = "no such place"
    return x


def cleaned(items, k):
    try:
        LOG.append("in")
        return items[k]
    finally:
        LOG.append("out")


def noted(items, k):
    try:
        return items[k]
    except (IndexError, KeyError) as error:
        error.add_note("noted")
        raise


def locked(items, k):
    with LOCK:
        for x in items:
            if x == k:
                return x
    return None


def raising(n):
    if n > 2:
        raise ValueError(f"{n} is too much")
    return n


def fails_inside(items):
    return [raising(x) for x in items]


def array_over(source, shape, strides):
    return raw.array_at(raw.address(source), source.dtype, shape, strides, source)


def allowed(name, known=frozenset(("a", "b"))):
    return name in known


def left_out(name):
    return WithInit(name).b, allowed(name), allowed(name, (name,))


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


def counting():
    global counter
    counter += 1
    return counter


def unbound(flag):
    if flag:
        value = 1
    return value


def ping(n):
    return 0 if n < 1 else pong(n - 1) + 1


def pong(n):
    return ping(n)


def updates(a, b, items):
    a *= b
    items *= 2
    items[0] |= 4
    a **= 2
    a //= 3
    a %= 7
    a <<= 2
    return a, items


def counted_from(items, first):
    rows = []
    for i, x in enumerate(items, first):
        rows.append((i, x))
    for pair in enumerate(items):
        rows.append(pair)
    x = items
    return rows, [(k, x) for k, x in enumerate(x)], [k + i for k, i in enumerate(items, 1)]


def raise_what(what, really):
    if really:
        raise what
    raise KeyError


def handled(items, k):
    for _ in range(3):
        try:
            x = items[k]
        except LookupError as error:
            x = type(error).__name__
    try:
        return x, items[k]
    except IndexError as error:
        if k > 5:
            raise
        return str(error)


def nested_handlers(items, k):
    try:
        return items[k]
    except LookupError as error:
        try:
            int(k)
        except ValueError:
            LOG.append(error.args)
            raise
        raise


def failing_cleanup(items, k):
    try:
        return [k, items]
    finally:
        items[k]


def identical(a, b):
    return a == a, a != a, a == b, a < b, 0 < a < b


def next_of(it):
    return next(it)


def first_of(items):
    return take_one(x for x in items if x > 1), sum(x for x in items)


def take_one(it):
    return next(it, "none")


def spread(a, *, b=1, **more):
    return a, b, more


def make_closure(base):
    def inner(x, y=1):
        return base, x, y

    return inner


PAIR = lambda g, *rest: (g, rest)  # noqa: E731
