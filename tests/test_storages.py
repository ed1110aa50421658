"""Storages: address, size and content of the memory that tensors see."""

import copy
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import livegrad


def test_size_and_content_are_pytorchs():
    torch = pytest.importorskip("torch")
    for lib in (livegrad, torch):
        x = lib.arange(6, dtype=lib.float32).reshape(2, 3)
        row = x[1]
        untyped = row.untyped_storage()
        assert (untyped.nbytes(), untyped.size(), len(untyped), untyped.element_size()) == (24, 24, 24, 1)
        assert untyped.tolist()[4:8] == [0, 0, 128, 63] and untyped[7] == 63
        typed = lib.Tensor.storage(row)
        assert (typed.nbytes(), typed.size(), typed.element_size(), typed.dtype) == (24, 6, 4, lib.float32)
        assert typed.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] and typed[2] == 2.0 and list(untyped[4:6]) == [0, 0]
        assert typed.data_ptr() == untyped.data_ptr() == x.data_ptr() and row.storage_offset() == 3
        typed[0] = 9.0
        assert x[0, 0].item() == 9.0
        assert lib.is_storage(typed) and not lib.is_storage(x)
        assert str(untyped.device) == "cpu" and untyped.resize_(24) is untyped
        assert lib.empty(0).untyped_storage().data_ptr() == 0


def test_who_shares_one():
    x = livegrad.ones(4)
    same, other = x.view(2, 2).untyped_storage(), x.clone().untyped_storage()
    assert same._cdata == x.untyped_storage()._cdata != other._cdata and same == x.untyped_storage() != other
    assert same.data_ptr() != other.data_ptr()
    z = livegrad.ones(2, dtype=livegrad.complex64)
    assert livegrad.view_as_real(z).untyped_storage()._cdata == z.untyped_storage()._cdata
    assert x.untyped_storage().untyped().size() == 16 and x.storage().untyped().size() == 16
    with pytest.raises(RuntimeError, match="not resizable: it has 16 bytes, not 8"):
        same.resize_(8)


def test_what_reads_it_later_sees_what_is_written():
    x = livegrad.zeros(3)
    y = x + 1  # pending
    x.storage().fill_(5.0)
    assert y.tolist() == [1.0, 1.0, 1.0] and x.tolist() == [5.0] * 3


def test_a_file_as_memory(tmp_path):
    path = tmp_path / "numbers"
    np.arange(4, dtype=np.float32).tofile(path)
    storage = livegrad.UntypedStorage.from_file(str(path), False, 16)
    t = livegrad.asarray(storage[4:12], dtype=livegrad.uint8).view(dtype=livegrad.float32)
    assert t.tolist() == [1.0, 2.0]
    livegrad.asarray(storage).fill_(0)
    assert np.fromfile(path, np.float32).tolist() == [0, 1, 2, 3]
    livegrad.asarray(livegrad.UntypedStorage.from_file(path, True, 8)).fill_(0)
    assert np.fromfile(path, np.float32).tolist() == [0, 0, 2, 3]


def test_what_has_an_array_becomes_a_tensor():
    class Picture:
        def __array__(self, dtype=None, copy=None):
            return np.arange(6, dtype=np.uint8).reshape(2, 3)

    assert livegrad.as_tensor(Picture()).shape == (2, 3) and livegrad.asarray(Picture()).dtype is livegrad.uint8
    assert livegrad.as_tensor(np.float64(2)).dtype is livegrad.float64


def test_view_takes_its_keywords():
    x = livegrad.arange(4.0)
    assert x.view(size=(2, 2)).shape == (2, 2) and x.view(dtype=livegrad.int32).dtype is livegrad.int32


def test_the_safetensors_package_works_on_these_tensors(tmp_path):
    pytest.importorskip("safetensors")
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import sys
        import torch
        from safetensors import safe_open
        from safetensors.torch import load, load_file, load_model, save, save_file, save_model
        folder = sys.argv[1]
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        save_file(model.state_dict(), folder + "/a.safetensors")
        for name, t in load_file(folder + "/a.safetensors").items():
            assert torch.equal(t, model.state_dict()[name]), name
        assert load(save({"a": torch.ones(2, dtype=torch.bfloat16)}))["a"].tolist() == [1.0, 1.0]
        model.tied = model[0]
        save_model(model, folder + "/b.safetensors")
        other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        other.tied = other[0]
        print(load_model(other, folder + "/b.safetensors"), torch.equal(other[0].weight, model[0].weight))
        with safe_open(folder + "/a.safetensors", "pt") as f:
            print(f.get_slice("0.weight")[1:3].shape)
        """)
    )
    command = [sys.executable, "-m", "livegrad", "run", str(program), str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    assert made.stdout.split("\n")[:2] == ["(set(), []) True", "torch.Size([2, 3])"]


@pytest.mark.parametrize("kind", ["storage", "untyped_storage"])
def test_copies_have_memory_of_their_own(kind):
    x = livegrad.arange(6.0)
    original = getattr(x, kind)()
    for made in (copy.copy(original), copy.deepcopy(original), pickle.loads(pickle.dumps(original))):
        assert made.tolist() == original.tolist() and made.data_ptr() != original.data_ptr()
    x.fill_(7.0)
    del original, made
    # Memory that two blocks owned would be handed out twice.
    pieces = [livegrad.full((6,), float(i)) for i in range(64)]
    assert [p.tolist() for p in pieces] == [[float(i)] * 6 for i in range(64)]


def test_what_must_be_there_once_is_not_copied():
    x = livegrad.ones(3, requires_grad=True)
    y = x * 2
    parts = [y.grad_fn, y._value(), x.detach()._storage().storage]
    block = x._value().ready().block
    for function in (copy.copy, copy.deepcopy, pickle.dumps):
        for part in (*parts, block):
            with pytest.raises(TypeError, match=f"cannot copy or pickle '{type(part).__name__}' object"):
                function(part)
    with pytest.raises(TypeError, match="cannot copy or pickle"):
        copy.deepcopy(x._value().ready())


def test_deep_copies_see_each_other_as_the_originals_do():
    x = livegrad.arange(6.0).reshape(2, 3)
    whole, row, turned, memory = copy.deepcopy([x, x[1], x.T, x.untyped_storage()])
    whole[1, 0] = 9.0
    assert row.tolist() == [9.0, 4.0, 5.0] and turned[0].tolist() == [0.0, 9.0] and turned.stride() == (1, 3)
    assert memory.data_ptr() == whole.data_ptr() and x[1, 0].item() == 3.0
    row.requires_grad_().sum().backward()  # a leaf, not a view of another tensor
    assert row.is_leaf and row._base is None and whole.grad is None

    model = livegrad.nn.Module()
    model.register_buffer("all", livegrad.zeros(4))
    model.register_buffer("some", model.all[:2])
    made = copy.deepcopy(model)
    made.all.fill_(3.0)
    assert made.some.tolist() == [3.0, 3.0] and model.some.tolist() == [0.0, 0.0]


def test_named_results_are_pickled_by_their_class():
    made = pickle.loads(pickle.dumps(livegrad.ones(2, 3).max(1)))
    assert type(made) is livegrad.return_types.max and made.values.tolist() == [1.0, 1.0]


def test_capsules_of_dlpack_are_taken_once():
    x = livegrad.arange(3.0)
    capsule = livegrad.utils.dlpack.to_dlpack(x)
    livegrad.utils.dlpack.from_dlpack(capsule)[0] = 5.0
    assert x.tolist() == [5.0, 1.0, 2.0]
    with pytest.raises(ValueError):
        livegrad.from_dlpack(capsule)
