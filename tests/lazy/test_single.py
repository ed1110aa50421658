"""What one operator on ready operands makes is the same whichever way it is evaluated (`lazy.single`)."""

import numpy as np
import pytest

import livegrad
from livegrad.lazy import single


def ready(shape, seed):
    t = livegrad.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).clone()
    livegrad.eval(t)
    return t


OPERATORS = {
    "unary": (lambda x, y, z: x.exp(), 1),
    "number": (lambda x, y, z: x * 3.0, 1),
    "two numbers": (lambda x, y, z: x.clamp(-0.5, 0.25), 1),
    "binary": (lambda x, y, z: x - y, 2),
    "the same twice": (lambda x, y, z: x * x, 1),
    "ternary": (lambda x, y, z: livegrad.where(x > 0, y, z), 3),
    "ternary with a number": (lambda x, y, z: livegrad.addcmul(x, y, z, value=0.5), 3),
    "first and last the same": (lambda x, y, z: livegrad.addcmul(x, y, x), 2),
    "comparison": (lambda x, y, z: x < y, 2),
}
LAYOUTS = {
    "as they are": lambda t: t,
    "transposed": lambda t: t.t(),
    "a window": lambda t: t[1:, 1:],
    "expanded": lambda t: t[:1].expand(5, 5),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPERATORS)
def test_same_as_tier_0(name, layout):
    function, _ = OPERATORS[name]
    change = LAYOUTS[layout]
    with livegrad.compiling("never"):
        expected = [function(*(change(ready((5, 5), 3 * k + i)) for i in range(3))).numpy() for k in range(4)]
    with livegrad.compiling("always"):
        made = [function(*(change(ready((5, 5), 3 * k + i)) for i in range(3))).numpy() for k in range(4)]
    for a, b in zip(made, expected):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_seen_again_it_is_evaluated_alone():
    with livegrad.compiling("always"):
        (ready((3, 7), 0) * ready((3, 7), 1)).numpy()
        made = ready((3, 7), 2) * ready((3, 7), 3)
        assert single.run(made._value())
    np.testing.assert_allclose(made.numpy(), ready((3, 7), 2).numpy() * ready((3, 7), 3).numpy())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_so_are_operands_that_lie_in_another_way(layout):
    change = LAYOUTS[layout]
    with livegrad.compiling("always"):
        (change(ready((5, 5), 0)) - ready((5,), 1)[: len(change(ready((5, 5), 0))[0])]).numpy()
        x = change(ready((5, 5), 2))
        v = ready((5,), 3)[: len(x[0])]
        made = x - v
        assert single.run(made._value())
    np.testing.assert_allclose(made.numpy(), x.numpy() - v.numpy())


def test_not_what_is_pending_or_overwritten():
    with livegrad.compiling("always"):
        x, y = ready((3, 7), 0), ready((3, 7), 1)
        (x * y).numpy()
        pending = x * (y + 1)
        assert not single.run(pending._value())
        same = x * x
        assert not single.run(same._value())
        expected = (2 * x).tolist()
        z = ready((3, 7), 0)
        z *= 2
        livegrad.eval(z)
        assert z.tolist() == expected
    with livegrad.compiling("never"):
        assert not single.run((x * y)._value())


def test_a_tensor_read_before_it_is_changed():
    with livegrad.compiling("always"):
        for k in range(3):
            x = ready((4, 4), k)
            before = x.numpy().copy()
            y = x + 1.0
            x.mul_(0.0)
            livegrad.eval(x)
            np.testing.assert_array_equal(y.numpy(), before + 1)
            assert not x.any()
