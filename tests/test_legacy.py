"""FloatTensor and its like, new and resize_, as in PyTorch."""

import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

NAMES = ["FloatTensor", "DoubleTensor", "HalfTensor", "ByteTensor", "CharTensor", "ShortTensor", "IntTensor",
         "LongTensor", "BoolTensor", "BFloat16Tensor"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_typed_tensors(name):
    found = []
    for m in (livegrad, torch):
        make = getattr(m, name)
        made = make([[1, 0], [2, 3]])
        assert isinstance(made, make)
        assert not isinstance(made, m.FloatTensor if name != "FloatTensor" else m.LongTensor)
        assert not isinstance(3, make)
        found.append(
            (made.tolist(), str(made.dtype), tuple(make(2, 3).shape), tuple(make().shape), make(made) is not None)
        )
    assert found[0] == found[1]


def test_new_and_resize():
    for m in (livegrad, torch):
        x = m.arange(6)
        assert x.new(2, 3).dtype == m.int64
        assert x.new([1, 2]).tolist() == [1, 2]
        assert x.resize_(2, 2) is x
        assert x.tolist() == [[0, 1], [2, 3]]
        assert x.resize_([8]).tolist()[:4] == [0, 1, 2, 3]
        assert tuple(x.resize_as_(m.ones(3, 1)).shape) == (3, 1)
        with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
            m.ones(2, requires_grad=True).resize_(3)


def test_defaults():
    livegrad.set_default_tensor_type(livegrad.DoubleTensor)
    try:
        assert livegrad.ones(1).dtype is livegrad.float64
        livegrad.set_default_tensor_type("torch.FloatTensor")
        assert livegrad.ones(1).dtype is livegrad.float32
    finally:
        livegrad.set_default_dtype(livegrad.float32)
    livegrad.set_default_device("cpu")
    livegrad.use_deterministic_algorithms(True)
    assert livegrad.are_deterministic_algorithms_enabled()
    livegrad.use_deterministic_algorithms(False)
    with pytest.raises(TypeError, match="invalid type object"):
        livegrad.set_default_tensor_type(3)


def test_memory_is_not_shared_and_that_is_said():
    with pytest.warns(UserWarning, match="not shared between processes"):
        livegrad.ones(2).share_memory_()
