"""What PyTorch refuses is refused: results where they cannot go, bounds, dtypes; and the kinds of the errors."""

import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import livegrad
from livegrad import nn
from livegrad.nn import functional as F

F32, F64, I64 = livegrad.float32, livegrad.float64, livegrad.int64


def _x():
    return livegrad.ones(2, 2)


@pytest.mark.parametrize(
    "name, args",
    [("mm", (_x(), _x())), ("matmul", (_x(), _x())), ("softmax", (_x(), 0)), ("tril", (_x(),)), ("clamp", (_x(), 0, 1)),
     ("gather", (_x(), 0, livegrad.zeros(2, 2, dtype=I64)))],
)  # fmt: skip
def test_out_of_another_dtype(name, args):
    function = getattr(livegrad, name)
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype float, but got double instead"):
        function(*args, out=livegrad.empty(2, 2, dtype=F64))
    assert function(*args, out=livegrad.empty(2, 2)).dtype is F32


def test_out_that_is_converted():
    assert livegrad.add(_x(), 1, out=livegrad.empty(2, 2, dtype=F64)).tolist() == [[2, 2], [2, 2]]
    assert livegrad.sum(_x(), 0, out=livegrad.empty(2, dtype=F64)).tolist() == [2, 2]


def test_indices_go_to_whole_numbers():
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype long int, but got int instead"):
        livegrad.argmax(_x(), 0, out=livegrad.empty(2, dtype=livegrad.int32))
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype long int"):
        livegrad.max(_x(), 0, out=(livegrad.empty(2), livegrad.empty(2)))


@pytest.mark.parametrize(
    "write",
    [lambda x: livegrad.add(x[:-1], 1, out=x[1:]), lambda x: livegrad.exp(x[:-1], out=x[1:]),
     lambda x: livegrad.cumsum(x[:-1], 0, out=x[1:]),
     lambda x: livegrad.gather(x, 0, livegrad.tensor([0, 1, 2]), out=x),
     lambda x: livegrad.index_select(x, 0, livegrad.tensor([0, 1, 2]), out=x)],
)  # fmt: skip
def test_out_that_overlaps_an_operand(write):
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer to"):
        write(livegrad.ones(3))


def test_out_that_is_an_operand():
    x = livegrad.ones(3)
    assert livegrad.add(x, 1, out=x) is x and x.tolist() == [2, 2, 2]
    y = livegrad.arange(4.0)
    assert livegrad.add(y[:2], y[2:], out=y[:2]).tolist() == [2, 4]


def test_out_with_repeated_elements():
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        livegrad.mul(livegrad.ones(3), 2, out=livegrad.ones(1).expand(3))


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers_want_bools(layer):
    with pytest.raises(TypeError, match="bias should be of type bool, got: int"):
        layer(2, 2, bias=0)
    with pytest.raises(TypeError, match="batch_first should be of type bool, got: NoneType"):
        layer(2, 2, batch_first=None)


@pytest.mark.parametrize("shapes, kernel", [(((2, 2), (2, 2)), "addmm_impl_cpu_"), (((2,), (2,)), "dot"),
                                            (((2, 2), (2,)), "addmv_impl_cpu"), (((1, 2, 2), (1, 2, 2)), "bmm")])  # fmt: skip
def test_products_of_bools(shapes, kernel):
    a, b = (livegrad.ones(s, dtype=livegrad.bool) for s in shapes)
    with pytest.raises(NotImplementedError, match=f"\"{kernel}\" not implemented for 'Bool'"):
        livegrad.matmul(a, b)


def test_bounds_of_rrelu():
    with pytest.raises(RuntimeError, match="Lower bound should be less than or equal to the upper bound"):
        F.rrelu(_x(), 0.5, 0.1)
    with pytest.raises(RuntimeError, match="rrelu: upper bound must be finite, got inf"):
        F.rrelu(_x(), 0, math.inf, training=True)


@pytest.mark.parametrize("n, dtype", [(257, "uint8"), (129, "int8"), (32_769, "int16"), (2050, "float16")])
def test_permutations_that_do_not_fit(n, dtype):
    dtype = getattr(livegrad, dtype)
    with pytest.raises(RuntimeError, match="without overflow|cannot be greater than"):
        livegrad.randperm(n, dtype=dtype)
    whole = livegrad.randperm(n - 1, dtype=dtype)
    assert sorted(whole.tolist()) == list(range(n - 1))


@pytest.mark.parametrize("dtype", [livegrad.bool, livegrad.complex64])
def test_permutations_of_what_is_no_number(dtype):
    with pytest.raises(NotImplementedError, match='"randperm" not implemented'):
        livegrad.randperm(1, dtype=dtype)


@pytest.mark.parametrize("data", [None, {1, 2}, {1: 2}, object(), iter([1]), int, [None], [{}]])
def test_data_that_is_none(data):
    with pytest.raises(RuntimeError, match="Could not infer dtype of"):
        livegrad.tensor(data)


@pytest.mark.parametrize(
    "data, error", [("a", TypeError), (b"a", TypeError), ([1, "a"], TypeError), (["a"], ValueError)]
)
def test_text_is_no_data(data, error):
    with pytest.raises(error, match="invalid data type|too many dimensions 'str'"):
        livegrad.tensor(data)


@pytest.mark.parametrize("args, text", [((0, math.inf), "unsupported range"), ((0, 1, 0), "step must be nonzero"),
                                        ((1, 0), "inconsistent with step sign"), ((0, math.nan), "unsupported range")])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_ranges(args, text):
    with pytest.raises(RuntimeError, match=text):
        livegrad.range(*args)


def test_sizes_of_adaptive_pools():
    with pytest.raises(TypeError, match="must be tuple of ints, not NoneType"):
        F.adaptive_avg_pool1d(livegrad.ones(1, 1, 4), None)
    with pytest.raises(RuntimeError, match="output_size must be 2"):
        F.adaptive_avg_pool2d(livegrad.ones(1, 1, 4, 4), (1,))
    assert F.adaptive_max_pool2d(livegrad.ones(1, 1, 4, 4), (None, 2)).shape == (1, 1, 4, 2)


@pytest.mark.parametrize("name", ["LIVEGRAD_EAGER", "LIVEGRAD_AMX", "LIVEGRAD_CUDA_GRAPHS"])
def test_switches_are_0_or_1(name):
    program = [
        sys.executable,
        "-c",
        "import livegrad; livegrad.backends.cuda; (livegrad.ones(2, 2) @ livegrad.ones(2, 2)).sum()",
    ]
    for text, fits in (("yes", False), ("1", True), ("0", True), ("", True)):
        done = subprocess.run(program, env={**os.environ, name: text}, capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) is fits, done.stderr
        if not fits:
            assert f"{name} must be 0 or 1, not 'yes'" in done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer")
def test_eager_mode_ends_whatever_interrupts_it():
    program = """
import signal, livegrad
from livegrad.lazy.control import is_eager
def strike(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, strike)
was_struck = 0
for k in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, 20e-6 + k * 0.7e-6)
        for _ in range(100_000):
            with livegrad.eager():
                pass
    except KeyboardInterrupt:
        was_struck += 1
    assert not is_eager(), k
signal.setitimer(signal.ITIMER_REAL, 0)
assert was_struck == 300
assert (livegrad.ones(3) + 1)._v.array is None
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_eager_blocks_one_in_another():
    from livegrad.lazy.control import is_eager

    with livegrad.eager():
        with livegrad.eager():
            assert is_eager()
        assert is_eager()
        assert (livegrad.ones(3) + 1)._v.array is not None
    assert not is_eager()
    assert (livegrad.ones(3) + 1)._v.array is None


def test_bfloat16_over_dlpack():
    x = livegrad.tensor([1.5, -2.0, 3.0], dtype=livegrad.bfloat16)
    y = livegrad.from_dlpack(x)
    assert y.dtype is livegrad.bfloat16 and y.tolist() == [1.5, -2.0, 3.0]
    y[0] = 4
    assert x.tolist() == [4, -2, 3]
    assert livegrad.from_dlpack(x.__dlpack__()).tolist() == [4, -2, 3]
    assert livegrad.from_dlpack(np.arange(3.0)).tolist() == [0, 1, 2]


def test_bfloat16_over_dlpack_with_pytorch():
    torch = pytest.importorskip("torch")
    x = livegrad.arange(6, dtype=livegrad.bfloat16).reshape(2, 3)
    there = torch.from_dlpack(x.t())
    assert there.dtype is torch.bfloat16 and there.tolist() == [[0, 3], [1, 4], [2, 5]]
    here = livegrad.from_dlpack(there)
    assert here.tolist() == there.tolist()
    assert livegrad.from_dlpack(torch.utils.dlpack.to_dlpack(torch.ones(2, dtype=torch.bfloat16))).tolist() == [1, 1]


def test_out_of_another_shape_takes_the_results():
    out = livegrad.zeros(3)
    with pytest.warns(UserWarning, match=r"resized since it had shape \[3\], which does not match"):
        made = livegrad.add(_x(), 1, out=out)
    assert made is out and out.tolist() == [[2, 2], [2, 2]]
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type Long"):
        livegrad.add(_x(), 1, out=livegrad.zeros(3, dtype=I64))
