"""What a tensor says of itself, and the order in memory that a memory format names, beside PyTorch's."""

import copy
import pickle

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

PROGRAMS = {
    "layout": lambda t, x: (str(x.layout), x.layout == t.strided),
    "stride": lambda t, x: (x.stride(), x.stride(-1), x.stride(dim=1)),
    "stride out of range": lambda t, x: x.stride(7),
    "size out of range": lambda t, x: x.size(-5),
    "size of a number": lambda t, x: t.tensor(3).size(0),
    "order": lambda t, x: (x.dim_order(), x.permute(0, 2, 1, 3).dim_order(), x.dense_dim()),
    "contiguous": lambda t, x: [x.is_contiguous(), x.is_contiguous(memory_format=t.channels_last)],
    "other rank": lambda t, x: x[0].is_contiguous(memory_format=t.channels_last),
    "channels last": lambda t, x: x.contiguous(memory_format=t.channels_last).stride(),
    "to": lambda t, x: x.to(memory_format=t.channels_last).is_contiguous(memory_format=t.channels_last),
    "to with a dtype": lambda t, x: x.to(t.float64, memory_format=t.channels_last).stride(),
    "back": lambda t, x: x.to(memory_format=t.channels_last).contiguous().stride(),
    "clone": lambda t, x: x.clone(memory_format=t.channels_last).stride(),
    "empty": lambda t, x: t.empty(2, 3, 4, 5, memory_format=t.channels_last).stride(),
    "three": lambda t, x: x[None].to(memory_format=t.channels_last_3d).stride(),
    "wrong rank": lambda t, x: x[0].contiguous(memory_format=t.channels_last),
    "wrong type": lambda t, x: x.contiguous(memory_format=3),
    "view of it": lambda t, x: x.to(memory_format=t.channels_last).view(-1),
    "contains": lambda t, x: (3.0 in x, 77 in x, t.tensor(5.0) in x),
    "contains text": lambda t, x: "a" in x,
    "reversed": lambda t, x: reversed(t.tensor([1, 2, 3])).tolist(),
    "reversed number": lambda t, x: reversed(t.tensor(1)).tolist(),
    "float of many": lambda t, x: float(x),
    "int of many": lambda t, x: int(x),
    "set to": lambda t, x: (x.is_set_to(x), x.is_set_to(x.view(2, 3, 2, 2)), x.is_set_to(x + 0), x[0].is_set_to(x[1])),
    "no CUDA": lambda t, x: hasattr(x, "__cuda_array_interface__"),
    "size twice": lambda t, x: (x.shape * 2, 2 * x.shape, type(x.shape * 2) is t.Size),
    "limits": lambda t, x: [repr(t.finfo(d)) for d in (t.float16, t.bfloat16, t.float32, t.float64)],
    "grown": lambda t, x: (lambda y: (y.resize_(3, 2), y.shape, y.reshape(-1)[:4].tolist())[1:])(t.arange(4.0)),
    "shrunk": lambda t, x: t.arange(6.0).view(2, 3).resize_(2).tolist(),
    "adjoint": lambda t, x: x.H,
}


def outcome(program, t):
    try:
        return program(t, t.arange(24.0).view(2, 3, 2, 2))
    except Exception as error:
        return type(error), str(error)[:40]


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_in_pytorch(name):
    ours, theirs = outcome(PROGRAMS[name], livegrad), outcome(PROGRAMS[name], torch)
    if isinstance(theirs, tuple) and isinstance(theirs[0], type):
        assert ours[0] is theirs[0], (ours, theirs)
    assert name in ("wrong type", "view of it") or repr(ours) == repr(theirs)


def test_gradients_flow_through_a_memory_format():
    values = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32")
    grads = []
    for t in (livegrad, torch):
        x = t.tensor(values, requires_grad=True)
        y = x.to(memory_format=t.channels_last)
        (y * y.reshape(2, 3, 4, 5).cumsum(1)).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=1e-5)


@pytest.mark.parametrize("name", ["strided", "sparse_coo", "channels_last", "preserve_format"])
def test_names_are_known_again(name):
    format = getattr(livegrad, name)
    assert pickle.loads(pickle.dumps(format)) is format and copy.deepcopy(format) is format


def test_resizing_is_noticed_as_a_change():
    x = livegrad.ones(3)
    before = x._version
    x.resize_(5)
    assert x._version == before + 1
