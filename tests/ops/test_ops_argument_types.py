"""What is no tensor where one is wanted raises TypeError, as in PyTorch, and names the argument: never what came of it."""

from __future__ import annotations

import numpy as np
import pytest

import livegrad
import livegrad.nn.functional as F

torch = pytest.importorskip("torch")

WRONG = {"list": [1.0, 2.0], "None": None, "array": np.ones(2), "str": "abc", "object": object()}
# Arguments after the first one: T is a tensor.
FORMS = [(), (0,), ("T",), ("T", "T"), ("T", "T", "T"), ("T", 0), ("T", 0, "T"), (0, "T"), (0, "T", "T")]
# What is taken where PyTorch refuses it: NumPy's arrays beside tensors, for one. These may raise as what they are.
LENIENT = {"array"}
NAMES = sorted(
    [("", n) for n in dir(livegrad) if n in set(dir(torch))] + [("nn.functional.", n) for n in F.__all__ if hasattr(torch.nn.functional, n)]
)  # fmt: skip
# Which set a default, or take numbers and what can be made one.
ELSEWHERE = {"manual_seed", "seed", "set_default_dtype", "set_default_device", "set_default_tensor_type", "compile",
             "arange", "broadcast_shapes", "from_file", "scalar_tensor", "randint", "range", "linspace", "logspace"}  # fmt: skip


def attempt(f, args, library):
    try:
        f(*[library.tensor([1.0, 2.0]) if a is T else a for a in args])
    except Exception as error:  # noqa: BLE001 (which one is the question)
        return error
    return None


T = object()


@pytest.mark.parametrize("module, name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_wrong_types(module, name):
    ours, theirs = (getattr(m, name) for m in ((F, torch.nn.functional) if module else (livegrad, torch)))
    if name in ELSEWHERE or name.startswith("_") or not callable(ours) or isinstance(ours, type):
        return
    for form in FORMS:
        args = [T, *[T if a == "T" else a for a in form]]
        for place, a in enumerate(args):
            if a is not T:
                continue
            for kind, wrong in WRONG.items():
                given = [*args[:place], wrong, *args[place + 1 :]]
                if not isinstance(attempt(theirs, given, torch), TypeError):
                    continue
                error = attempt(ours, given, livegrad)
                shown = f"{module}{name}, argument {place + 1} of {len(args)}, {kind}: {error!r}"
                assert not isinstance(error, (AttributeError, KeyError)), shown
                assert isinstance(error, TypeError) or error is None or kind in LENIENT or place, shown


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda t, x: t.matmul(x, [1]), "argument 'other' (position 2) must be Tensor, not list"),
        (lambda t, x: x.index_select(0, [1]), "index_select(): argument 'index' (position 2) must be Tensor, not list"),
        (lambda t, x: t.cdist(x, None), "cdist(): argument 'x2' (position 2) must be Tensor, not NoneType"),
        (
            lambda t, x: x.allclose(np.ones(2)),
            "allclose(): argument 'other' (position 1) must be Tensor, not numpy.ndarray",
        ),
        (lambda t, x: t.sum(x, "abc"), "argument 'dim' (position 2) must be tuple of ints, not str"),
        (lambda t, x: t.zeros(2, [1.0]), "zeros(): argument 'size' (position 1) must be tuple of ints"),
        (lambda t, x: t.nn.functional.linear(x, "w"), "argument 'weight' (position 2) must be Tensor, not str"),
        (lambda t, x: t.nn.functional.conv1d([1], x), "argument 'input' (position 1) must be Tensor, not list"),
        (lambda t, x: t.cat([x, [1]]), "must be tuple of Tensors, but found element of type list at pos 1"),
    ],
)
def test_texts(call, text):
    with pytest.raises(TypeError) as found:
        call(livegrad, livegrad.ones(2))
    assert text in str(found.value)


def test_other_errors_stay():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        livegrad.ones(2, 3).matmul(livegrad.ones(2, 3))

    class Mine(Exception):
        pass

    def distance(a, b):
        raise Mine

    x = livegrad.ones(2, 3)
    with pytest.raises(Mine):
        F.triplet_margin_with_distance_loss(x, x, x, distance_function=distance)


@pytest.mark.parametrize("make", ["zeros", "ones", "rand", "randn", "empty"])
def test_out_of_functions_that_make_tensors(make):
    out = livegrad.full((3,), 7.0, dtype=livegrad.float64)
    assert getattr(livegrad, make)(3, out=out) is out
    assert out.dtype is livegrad.float64
    if make in ("zeros", "ones"):
        assert out.tolist() == [float(make == "ones")] * 3
    livegrad.arange(3, out=out)
    assert out.tolist() == [0.0, 1.0, 2.0]
