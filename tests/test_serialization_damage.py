"""Files with damage in them: loading raises, or gives exactly what was saved; it never gives something else."""

import io
import math
import pickle
import random
import struct

import numpy as np
import pytest

import livegrad
from livegrad.serialization import CheckpointError, load, save

ERRORS = (CheckpointError, pickle.UnpicklingError)


def content(library):
    model = library.nn.Sequential(library.nn.Linear(3, 2), library.nn.Linear(2, 1))
    return {"model": model.state_dict(), "step": 7, "names": ["a", ("b", 2.5)], "flags": library.tensor([True, False])}


def plain(obj):
    """Something that is equal for equal objects."""
    if isinstance(obj, dict):
        return [type(obj).__name__, *((key, plain(value)) for key, value in obj.items())]
    if isinstance(obj, (list, tuple)):
        return [type(obj).__name__, *map(plain, obj)]
    if hasattr(obj, "tolist"):
        return (str(obj.dtype).rpartition(".")[2], tuple(obj.shape), np.asarray(obj.tolist()).tobytes())
    return obj


def ours():
    file = io.BytesIO()
    save(content(livegrad), file, format="safetensors")
    return file.getvalue()


def torchs(zipped):
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save(content(torch), file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def alterations(data, count, seed):
    """Files that differ from this one in some bytes, or have some more or fewer."""
    rng = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        where = rng.randrange(len(data))
        length = rng.choice((1, 1, 2, 4, 16, 200))
        kind = rng.randrange(6)
        if kind == 0:
            changed[where] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[where : where + length] = bytes(len(changed[where : where + length]))
        elif kind == 2:
            changed[where : where + length] = rng.randbytes(len(changed[where : where + length]))
        elif kind == 3:
            del changed[where : where + length]
        elif kind == 4:
            changed[where:where] = rng.randbytes(length)
        else:
            other = rng.randrange(len(data))
            changed[where : where + length] = data[other : other + length]
        if changed != data:
            yield bytes(changed)


def outcomes(data, count, seed, errors=ERRORS):
    """For each altered file, whether it was refused, or else whether what it gave is what was saved."""
    expected = plain(load(io.BytesIO(data)))
    seen = {"refused": 0, "same": 0, "another": 0}
    for changed in alterations(data, count, seed):
        try:
            found = load(io.BytesIO(changed))
        except errors:
            seen["refused"] += 1
        else:
            seen["same" if plain(found) == expected else "another"] += 1
    return seen


@pytest.mark.parametrize("kind", ["ours", "zip"])
def test_damage_is_noticed(kind):
    data = ours() if kind == "ours" else torchs(True)
    seen = outcomes(data, 700, seed=1)
    assert seen["another"] == 0, seen
    assert seen["refused"] > 300, seen


def test_damage_to_a_file_without_checksums_raises_nothing_else():
    seen = outcomes(torchs(False), 700, seed=2, errors=(*ERRORS, RuntimeError))  # for devices that do not exist
    assert seen["refused"] > 100, seen


@pytest.mark.parametrize("kind", ["ours", "zip", "stream"])
def test_files_that_are_cut_short(kind):
    data = ours() if kind == "ours" else torchs(kind == "zip")
    for length in range(0, len(data), 13):
        with pytest.raises(ERRORS):
            load(io.BytesIO(data[:length]))


def test_a_mark_is_enough_to_be_held_to_the_checksums():
    """A file of ours in whose header both of the first marks are damaged is not taken for somebody else's."""
    data = ours()
    for mark in (b'"format":"livegrad"', b'"header_crc32"'):
        assert data.count(mark) == 1
        data = data.replace(mark, mark.replace(b"r", b"x", 1))
    with pytest.raises(CheckpointError):
        load(io.BytesIO(data))


def test_a_name_that_occurs_twice():
    entry = '{"dtype":"U8","shape":[2],"data_offsets":[0,2]}'
    header = f'{{"x":{entry},"x":{entry}}}'.encode()
    with pytest.raises(CheckpointError, match="'x' more than once"):
        load(io.BytesIO(struct.pack("<Q", len(header)) + header + b"\1\2"))


class TestPytorchsOldFormat:
    def data(self, obj):
        torch = pytest.importorskip("torch")
        file = io.BytesIO()
        torch.save(obj(torch), file, _use_new_zipfile_serialization=False)
        return file

    def loaded(self, obj):
        file = self.data(obj)
        end = file.tell()
        file.seek(0)
        found = load(file)
        assert file.tell() == end
        return found

    def test_objects(self):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        saved = content(torch)
        assert plain(self.loaded(lambda t: saved)) == plain(saved)

    @pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "int64", "uint8", "bool"])
    def test_dtypes(self, dtype):
        found = self.loaded(lambda t: t.arange(7).to(getattr(t, dtype)))
        assert found.dtype is getattr(livegrad, dtype) and found.double().tolist() == (
            [0, 1, 1, 1, 1, 1, 1] if dtype == "bool" else [0, 1, 2, 3, 4, 5, 6]
        )

    def test_views_parameters_and_what_is_shared(self):
        def views(t):
            x = t.arange(12.0)
            return [x, x[3:5], x.view(3, 4).t(), t.nn.Parameter(t.ones(2)), x, t.zeros(0, 3)]

        x, part, turned, parameter, again, empty = self.loaded(views)
        assert x.tolist() == list(range(12)) and part.tolist() == [3, 4] and turned[1].tolist() == [1, 5, 9]
        assert type(parameter) is livegrad.nn.Parameter and parameter.requires_grad
        assert x is again and empty.shape == (0, 3)

    def test_several_in_one_file(self):
        torch = pytest.importorskip("torch")
        file = io.BytesIO()
        for i in range(3):
            torch.save(torch.full((2,), float(i)), file, _use_new_zipfile_serialization=False)
        file.seek(0)
        assert [load(file).tolist() for _ in range(3)] == [[0, 0], [1, 1], [2, 2]]

    def test_objects_of_other_classes(self):
        with pytest.raises(pickle.UnpicklingError, match="Linear"):
            self.loaded(lambda t: t.nn.Linear(1, 1))

    def test_a_storage_longer_than_the_file(self):
        data = self.data(lambda t: t.ones(3)).getvalue()
        at = data.rindex(struct.pack("<q", 3))
        for count in (4, -1, 2**62, -(2**63)):
            with pytest.raises(CheckpointError, match="damaged"):
                load(io.BytesIO(data[:at] + struct.pack("<q", count) + data[at + 8 :]))

    def test_another_version(self):
        data = self.data(lambda t: 1).getvalue()
        with pytest.raises(CheckpointError, match="version 1001 of PyTorch's old format, found 1257"):
            load(io.BytesIO(data.replace(b"M\xe9\x03", b"M\xe9\x04", 1)))


OPTIMIZERS = {
    "SGD": {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    "Adam": {"lr": 0.01},
    "AdamW": {"lr": 0.01, "amsgrad": True},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "Adagrad": {"lr": 0.05},
    "Adadelta": {},
    "Adamax": {},
    "NAdam": {},
    "RAdam": {},
    "Rprop": {},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_pytorchs_checkpoint(name, zipped):
    """A model and an optimizer in the middle of training, saved by PyTorch: the next losses are PyTorch's."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    xs, ys = rng.standard_normal((12, 8, 4)).astype("f"), rng.standard_normal((12, 8, 2)).astype("f")

    def made(t, **options):
        model = t.nn.Sequential(t.nn.Linear(4, 5), t.nn.Tanh(), t.nn.Linear(5, 2))
        return model, getattr(t.optim, name)(model.parameters(), **options)

    def losses(t, model, optimizer, steps):
        seen = []
        for i in steps:
            optimizer.zero_grad()
            loss = ((model(t.tensor(xs[i])) - t.tensor(ys[i])) ** 2).mean()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        return seen

    model, optimizer = made(torch, **OPTIMIZERS[name])
    losses(torch, model, optimizer, range(6))
    file = io.BytesIO()
    both = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(both, file, _use_new_zipfile_serialization=zipped)
    expected = losses(torch, model, optimizer, range(6, 12))
    file.seek(0)
    both = load(file)
    model, optimizer = made(livegrad, lr=0.5)  # which the checkpoint replaces
    model.load_state_dict(both["model"])
    optimizer.load_state_dict(both["optimizer"])
    np.testing.assert_allclose(losses(livegrad, model, optimizer, range(6, 12)), expected, rtol=2e-6)
    assert all(map(math.isfinite, expected))
