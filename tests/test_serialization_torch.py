"""Files in PyTorch's own format, written here: PyTorch reads them, and what it writes comes back here."""

import argparse
import collections
import io
import os
import pathlib
import pickle
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import livegrad
from livegrad import load, nn, save
from livegrad.serialization import CheckpointError, safe_globals
from livegrad.serialization.pickling import pickled
from livegrad.serialization.zipping import write_archive


def saved(obj):
    file = io.BytesIO()
    save(obj, file)
    file.seek(0)
    return file


def again(obj, **options):
    return load(saved(obj), **options)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
DTYPES += ["complex64", "complex128"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_reads_every_dtype(torch, dtype):
    t = livegrad.arange(6).reshape(2, 3).to(getattr(livegrad, dtype))
    got = torch.load(saved({"t": t, "turned": t.t(), "row": t[1], "none": t[:0]}), weights_only=True)
    assert got["t"].dtype is getattr(torch, dtype) and got["t"].tolist() == t.tolist()
    assert got["turned"].tolist() == t.t().tolist() and got["turned"].stride() == (1, 3)
    assert got["row"].storage_offset() == 3 and got["none"].shape == (0, 3)
    got["t"].zero_()
    assert not got["row"].any() and not got["turned"].any()


def test_pytorch_reads_what_belongs_to_tensors(torch):
    weight = nn.Parameter(livegrad.ones(2))
    obj = {
        "weight": weight,
        "frozen": nn.Parameter(livegrad.zeros(1), requires_grad=False),
        "leaf": livegrad.ones(1, requires_grad=True),
        "made": livegrad.ones(1, requires_grad=True) * 2,
        "dtype": livegrad.bfloat16,
        "device": livegrad.device("cpu"),
        "size": livegrad.Size([1, 2]),
        "all": [weight, weight.detach(), None, 1, 2**70, 0.5, True, "text", b"\x00\xff", 1j, (1, (2,)), {3}, {"a": {}}],
    }
    got = torch.load(saved(obj), weights_only=True)
    assert type(got["weight"]) is torch.nn.Parameter and got["weight"].requires_grad
    assert not got["frozen"].requires_grad and got["leaf"].requires_grad and got["made"].requires_grad
    assert got["dtype"] is torch.bfloat16 and got["device"] == torch.device("cpu") and got["size"] == (1, 2)
    assert got["all"][0] is got["weight"] and got["all"][2:] == obj["all"][2:]
    with torch.no_grad():
        got["weight"].fill_(5)
    assert got["all"][1].tolist() == [5, 5]


def test_checkpoints_go_both_ways(torch):
    def parts(lib):
        lib.manual_seed(0)
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4), lib.nn.Linear(4, 1))
        optimizer = lib.optim.AdamW(model.parameters(), lr=0.1)
        return model, optimizer, lib.optim.lr_scheduler.StepLR(optimizer, 2)

    def step(lib, model, optimizer, schedule):
        x = lib.tensor(np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3))
        loss = model(x).pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.item()

    for first, second in ((livegrad, torch), (torch, livegrad)):
        trained, other = parts(first), parts(second)
        for _ in range(3):
            step(first, *trained)
        file = io.BytesIO()
        first.save({k: part.state_dict() for k, part in zip("mos", trained)} | {"epoch": 3}, file)
        file.seek(0)
        checkpoint = second.load(file, weights_only=True)
        for k, part in zip("mos", other):
            part.load_state_dict(checkpoint[k])
        for _ in range(3):
            assert step(first, *trained) == pytest.approx(step(second, *other), rel=1e-5)


LAYERS = {
    "linear": (lambda nn: nn.Linear(3, 4), (2, 3)),
    "mlp": (lambda nn: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(4)), (2, 3)),
    "conv": (
        lambda nn: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.MaxPool2d(2)),
        (1, 3, 6, 6),
    ),
    "padded": (lambda nn: nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), (1, 3, 8)),
    "transposed": (lambda nn: nn.ConvTranspose2d(3, 4, 3, stride=2), (1, 3, 5, 5)),
    "norm": (lambda nn: nn.Sequential(nn.LayerNorm(3), nn.GELU(), nn.Softmax(-1), nn.LeakyReLU(0.2)), (2, 3)),
    "lstm": (lambda nn: nn.LSTM(3, 5, 2, batch_first=True, bidirectional=True), (2, 4, 3)),
    "gru": (lambda nn: nn.GRU(3, 5), (4, 2, 3)),
    "transformer": (lambda nn: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), (2, 3, 6)),
    "attention": (lambda nn: nn.ModuleDict({"a": nn.ModuleList([nn.MultiheadAttention(4, 2)])})["a"][0], None),
    "upsample": (lambda nn: nn.Sequential(nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.Flatten()), (1, 2, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore")
def test_whole_modules_go_both_ways(torch, name):
    make, shape = LAYERS[name]
    for first, second in ((livegrad, torch), (torch, livegrad)):
        first.manual_seed(0)
        module = make(first.nn).eval()
        file = io.BytesIO()
        first.save(module, file)
        file.seek(0)
        made = second.load(file, weights_only=False)
        assert type(made).__name__ == type(module).__name__ and not made.training
        assert list(made.state_dict()) == list(module.state_dict())
        args = [np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)] if shape else []
        args = args or [np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 2, 4)] * 3
        results = []
        for lib, each in ((first, module), (second, made)):
            result = each(*[lib.tensor(a) for a in args])
            results.append((result[0] if isinstance(result, tuple) else result).detach().numpy())
        np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)
        made.train().to(second.float64)
        assert all(p.dtype is second.float64 for p in made.parameters())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.last = nn.Linear(3, 3)
        self.tied = self.last.weight
        self.act = nn.functional.relu
        self.register_buffer("steps", livegrad.arange(3))

    def forward(self, x):
        return self.last(self.act(self.first(x)))


def test_modules_of_the_program():
    net = Net()
    x = livegrad.randn(4, 2)
    made = again({"net": net, "same": net}, weights_only=False)
    assert made["net"] is made["same"] and made["net"].tied is made["net"].last.weight
    assert made["net"](x).tolist() == net(x).tolist() and made["net"].steps.tolist() == [0, 1, 2]
    made["net"](x).sum().backward()
    assert made["net"].first.weight.grad is not None
    with pytest.raises(pickle.UnpicklingError, match=r"Net was not an allowed global.*weights_only=False"):
        again(net)
    with safe_globals([Net, nn.Linear]):  # what else a module is made of is allowed
        assert again(net)(x).tolist() == net(x).tolist()


def test_functions_held_since_before_there_was_a_compiled_form():
    from livegrad.native import originals

    def stand_in(x):
        """Like a Python form whose place a compiled function has taken."""

    stand_in.__module__, stand_in.__qualname__ = "livegrad.nn.functional.activation", "relu"
    originals.keep(stand_in)
    held = nn.ReLU()
    held.f = stand_in
    assert again(held, weights_only=False).f is nn.functional.relu
    assert pickle.loads(pickle.dumps(held)).f is stand_in


def test_what_programs_put_beside_their_weights(torch):
    obj = {
        "args": argparse.Namespace(lr=0.1, out=pathlib.Path("a") / "b"),
        "best": np.float64(0.5),
        "history": np.arange(3.0),
        "counts": collections.Counter("aab"),
        "weights": livegrad.ones(2),
    }
    for got in (again(obj, weights_only=False), torch.load(saved(obj), weights_only=False)):
        assert got["args"] == obj["args"] and got["counts"] == obj["counts"] and got["best"] == 0.5
        assert got["history"].tolist() == [0, 1, 2] and got["weights"].tolist() == [1, 1]
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL argparse\.Namespace was not an allowed global"):
        again(obj)
    with safe_globals([argparse.Namespace, type(obj["args"].out), collections.Counter]):
        assert again(obj)["args"] == obj["args"]
    file = io.BytesIO()
    torch.save(obj | {"weights": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    got = load(file, weights_only=False)
    assert got["args"] == obj["args"] and got["weights"].tolist() == [1, 1]


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.float32(2), np.array(["a", "bc"]), np.zeros((0, 2))])
def test_numpys_arrays_need_no_trust(array):
    got = again([array])[0]
    assert type(got) is type(array) and got.dtype == array.dtype and np.array_equal(got, array)


def test_arrays_of_objects_are_refused():
    with pytest.raises(pickle.UnpicklingError):
        again(np.array([None, []], dtype=object))


class Evil:
    def __reduce__(self):
        return os.system, ("exit 1",)


def test_nothing_runs_without_trust():
    with pytest.raises(pickle.UnpicklingError, match=r"(posix|nt)\.system was not an allowed global"):
        again({"a": [Evil()]})
    with safe_globals([Net]), pytest.raises(pickle.UnpicklingError, match="system"):
        again([Net, Evil()])


def test_tensors_with_attributes_and_of_other_classes(torch):
    class_of_its_own = again(Tagged([1.0, 2.0]), weights_only=False)
    assert type(class_of_its_own) is Tagged and class_of_its_own.tolist() == [1.0, 2.0]
    t = livegrad.ones(2)
    t.note = "kept"
    assert again(t).note == "kept" and torch.load(saved(t), weights_only=True).note == "kept"
    assert type(again(nn.Buffer(t, persistent=False))) is nn.Buffer
    assert not again(nn.Buffer(t, persistent=False)).persistent


class Tagged(livegrad.Tensor):
    pass


def test_one_memory_as_two_types_is_refused():
    z = livegrad.ones(2, dtype=livegrad.complex64)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        save([z, livegrad.view_as_real(z)], io.BytesIO())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
    | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(values)
def test_any_plain_object_comes_back(obj):
    assert again(obj) == obj
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "load"):
        assert torch.load(saved(obj), weights_only=True) == obj


def test_the_archive_is_a_sound_one(tmp_path):
    obj = {"a": livegrad.arange(1000.0), "b": livegrad.ones(3, dtype=livegrad.bool)}
    path = tmp_path / "x.pt"
    save(obj, path)
    assert path.read_bytes() == saved(obj).getvalue()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("archive/data/0") == np.arange(1000.0, dtype=np.float32).tobytes()
        for entry in archive.infolist():
            head = path.read_bytes()[entry.header_offset + 26 : entry.header_offset + 30]
            assert (entry.header_offset + 30 + sum(np.frombuffer(head, "<u2").astype(int))) % 64 == 0
    for length in range(0, path.stat().st_size, 101):
        with pytest.raises(CheckpointError):
            load(io.BytesIO(path.read_bytes()[:length]))


def test_many_entries(tmp_path):
    storages = {str(i): np.zeros(0, np.uint8) for i in range(70_000)}
    path = tmp_path / "many.zip"
    with open(path, "wb") as out:
        write_archive(out, b"pickle", storages)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 70_000 + 6 and archive.read("archive/data.pkl") == b"pickle"


def test_numbers_of_64_bits(torch):
    pickle, storages = pickled({"a": livegrad.arange(1000.0), "b": livegrad.ones(3)})
    for large in (100, 1, 5000):
        file = io.BytesIO()
        write_archive(file, pickle, storages, large)
        assert zipfile.ZipFile(io.BytesIO(file.getvalue())).testzip() is None
        for lib in (livegrad, torch):
            got = lib.load(io.BytesIO(file.getvalue()))
            assert got["a"].sum().item() == 499500 and got["b"].tolist() == [1, 1, 1]


class OneWay(io.RawIOBase):
    """Takes a little at a time, and cannot seek."""

    def __init__(self):
        self.got = b""

    def writable(self):
        return True

    def write(self, data):
        self.got += bytes(data[:7])
        return min(len(data), 7)


def test_files_that_cannot_seek():
    file = OneWay()
    save([livegrad.ones(3)], file)
    assert load(io.BytesIO(file.got))[0].tolist() == [1, 1, 1]


def test_the_format_is_chosen_by_name_or_said(tmp_path):
    for name, form in (("a.pt", b"PK"), ("a.safetensors", None), ("a.ckpt", b"PK")):
        save({"x": livegrad.ones(2)}, tmp_path / name)
        assert ((tmp_path / name).read_bytes()[:2] == b"PK") == (form == b"PK")
        assert load(tmp_path / name)["x"].tolist() == [1, 1]
    save({"x": livegrad.ones(2)}, tmp_path / "b.pt", format="safetensors")
    assert (tmp_path / "b.pt").read_bytes()[8:9] == b"{"
    with pytest.raises(ValueError, match="'torch' or 'safetensors', not 'hdf5'"):
        save({}, tmp_path / "c", format="hdf5")


def test_what_cannot_be_pickled_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.pt"
    save([1], path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save([lambda: 1], path)
    assert load(path) == [1] and os.listdir(tmp_path) == ["x.pt"]
