"""What makes tensors heeds requires_grad, dtype and copy, as PyTorch's functions do."""

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

CALLS = {
    "normal": (0.0, 1.0, (2,)), "rand": (2,), "randn": (2,), "zeros": (2,), "ones": (2,), "empty": (2,), "eye": (2,),
    "full": ((2,), 1.0), "linspace": (0, 1, 3), "logspace": (0, 1, 3), "arange": (3.0,), "range": (0, 2.0),
    "tensor": ([1.0],), "asarray": ([1.0],), "scalar_tensor": (1.0,), "empty_strided": ((2,), (1,)),
    "hann_window": (4,), "hamming_window": (4,), "bartlett_window": (4,), "blackman_window": (4,),
    "kaiser_window": (4,),
}  # fmt: skip
LIKE = {"zeros": (), "ones": (), "empty": (), "full": (1.0,), "rand": (), "randn": ()}
NEW = {"zeros": ((2,),), "ones": ((2,),), "empty": ((2,),), "full": ((2,), 1.0), "tensor": ([1.0],)}


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.filterwarnings("ignore")
def test_results_require_a_gradient_where_that_is_asked_for(dtype):
    x = livegrad.ones(2)
    makers = [(name, getattr(livegrad, name), args) for name, args in CALLS.items()]
    makers += [(f"{name}_like", getattr(livegrad, f"{name}_like"), (x, *args)) for name, args in LIKE.items()]
    makers += [(f"new_{name}", getattr(x, f"new_{name}"), args) for name, args in NEW.items()]
    options = {} if dtype is None else {"dtype": livegrad.float64}
    for name, make, args in makers:
        made = make(*args, requires_grad=True, **options)
        assert made.requires_grad and made.is_leaf, name
        assert made.dtype is (livegrad.float32 if dtype is None else livegrad.float64), name
        assert not make(*args, **options).requires_grad, name


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
def test_indices_of_triangles_are_of_whole_numbers(name):
    for module in (livegrad, torch):
        make = getattr(module, name)
        assert make(2, 3, dtype=module.int32).dtype == module.int32
        with pytest.raises(NotImplementedError):
            make(2, 3, dtype=module.float32)
        with pytest.raises(RuntimeError):
            make(2, 3, requires_grad=True)
        with pytest.raises(TypeError):
            make(2, 3, colour=1)


@pytest.mark.parametrize("name, args", [("logspace", (0, 1, 3)), ("range", (0, 2.0)), ("normal", (0.0, 1.0, (2,)))])
def test_unknown_options_are_refused(name, args):
    with pytest.raises(TypeError):
        getattr(livegrad, name)(*args, colour=1)


@pytest.mark.filterwarnings("ignore")
def test_asarray():
    array = np.ones(2)
    for module in (livegrad, torch):
        leaf = module.ones(2, requires_grad=True)
        assert module.asarray(leaf) is leaf and not module.asarray(leaf * 2, requires_grad=False).requires_grad
        assert not module.asarray(leaf, copy=True).is_leaf
        assert module.asarray(module.ones(2), requires_grad=True).requires_grad
        shared, own = module.asarray(array), module.asarray(array, copy=True)
        array += 1
        assert shared.tolist() == array.tolist() and own.tolist() == (array - 1).tolist()
        for given, options in (([1.0], {}), (leaf, {"dtype": module.float64})):
            with pytest.raises(ValueError, match="can't alias"):
                module.asarray(given, copy=False, **options)
        with pytest.raises(RuntimeError, match="nly Tensors of floating point"):
            module.asarray(3, requires_grad=True)


def test_full_like_takes_its_number_by_name():
    for module in (livegrad, torch):
        made = module.full_like(module.ones(2), fill_value=0.5)
        assert made.tolist() == [0.5, 0.5]
        assert module.full_like(module.ones(2), fill_value=3, dtype=module.int64).tolist() == [3, 3]


def test_new_tensors_take_their_size_by_name():
    for module in (livegrad, torch):
        x = module.ones(1, dtype=module.float64)
        for make in (x.new_zeros, x.new_ones, x.new_empty):
            made = make(size=(2, 3))
            assert made.shape == (2, 3) and made.dtype == module.float64
        assert x.new_full(size=(2,), fill_value=3.0).tolist() == [3.0, 3.0]


def test_tensors_of_files(tmp_path):
    torch = pytest.importorskip("torch")
    for library, name in ((livegrad, "ours"), (torch, "theirs")):
        path = str(tmp_path / name)
        x = library.from_file(path, shared=True, size=4, dtype=library.float32)
        assert x.tolist() == [0, 0, 0, 0]
        x += 1
        x[0] = 7
        own = library.from_file(path, size=3)
        assert own.tolist() == [7, 1, 1]
        own.zero_()
        assert library.from_file(path, False, 4).tolist() == [7, 1, 1, 1] and own.tolist() == [0, 0, 0]
        assert library.from_file(path, shared=True, size=5).tolist() == [7, 1, 1, 1, 0]
        assert library.from_file(path, size=2, requires_grad=True).requires_grad
        assert library.from_file(path, size=2, dtype=library.int64).dtype is library.int64
        with pytest.raises(RuntimeError, match="smaller than the required mapping size"):
            library.from_file(path, size=6)
        with pytest.raises(RuntimeError, match="unable to open file"):
            library.from_file(path + "no", size=1)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
