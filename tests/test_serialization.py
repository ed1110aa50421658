"""Saving and loading: everything comes back as it was, nothing else gets in, and files are never left half written."""

import collections
import contextlib
import functools
import io
import json
import math
import os
import pathlib
import pickle
import stat
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib

import ml_dtypes
import numpy as np
import pytest

import livegrad as lg
from livegrad import serialization
from livegrad.serialization import CheckpointError, load

save = functools.partial(serialization.save, format="safetensors")  # for PyTorch's format: test_serialization_torch

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]


def numpy_dtype(name):
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def example(name, shape=(3, 4)):
    numbers = np.random.default_rng(sum(map(ord, name)))
    return np.asarray(numbers.integers(0, 2 if name == "bool" else 100, shape)).astype(numpy_dtype(name))


def tensor(values, dtype="float32"):
    return lg.from_numpy(np.array(values, dtype=numpy_dtype(dtype)))


def values(t):
    return t.detach()._to_numpy()


def packed(obj):
    file = io.BytesIO()
    save(obj, file)
    return file.getvalue()


def round_trip(obj, **kwargs):
    return load(io.BytesIO(packed(obj)), **kwargs)


def assert_same(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, lg.Tensor):
        assert got.dtype is expected.dtype and tuple(got.shape) == tuple(expected.shape)
        assert got.requires_grad == expected.requires_grad
        assert values(got).tobytes() == values(expected).tobytes()
    elif isinstance(expected, (dict, collections.OrderedDict)):
        assert list(got) == list(expected)
        for key in expected:
            assert_same(got[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for one, other in zip(got, expected):
            assert_same(one, other)
    elif isinstance(expected, (float, complex)):
        assert repr(got) == repr(expected)
    else:
        assert got == expected


# -- what comes back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (0,), (2, 0, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_and_shape(name, shape):
    original = lg.from_numpy(example(name, shape))
    got = round_trip(original)
    assert_same(got, original)
    assert got.dtype is getattr(lg, name)


PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    2**64,
    -(10**5000),
    0.1,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    math.nan,
    1 + 2j,
    complex(math.nan, math.inf),
    "",
    'text "quoted" \\ \n \0 é 😀',
    "\ud800 alone",
    b"",
    bytes(range(256)),
    bytearray(b"abc"),
    [],
    (),
    {},
    set(),
    frozenset(),
    [1, [2, (3, {"a": None})]],
    {1: "int", 1.5: "float", False: "zero", None: "none", "s": 0, b"b": 1, (1, ("x", None)): 2, frozenset([1]): 3},
    {1, 2.5, "x", None, b"y", (1, 2)},
    frozenset([(1, frozenset([2]))]),
    collections.OrderedDict([("b", 1), ("a", 2)]),
    {"ref": 0, "tensor": "x", "dict": [1], "__metadata__": 3},
]


@pytest.mark.parametrize("obj", PLAIN, ids=range(len(PLAIN)))
def test_plain_objects(obj):
    assert_same(round_trip(obj), obj)
    assert_same(round_trip([obj, {"inside": obj}]), [obj, {"inside": obj}])


def test_signed_zero_and_int_are_kept_apart():
    assert math.copysign(1, round_trip(-0.0)) == -1
    assert type(round_trip({1: 2.0})[1]) is float
    assert type(next(iter(round_trip({True: 1})))) is bool


def test_dtypes_devices_and_sizes():
    obj = [*(getattr(lg, name) for name in DTYPES), lg.device("cpu"), lg.device("cuda", 1), lg.Size([2, 3])]
    got = round_trip(obj)
    assert got == obj
    assert all(type(one) is type(other) for one, other in zip(got, obj))
    assert got[0] is lg.bool
    assert round_trip({lg.float32: lg.Size([])}) == {lg.float32: lg.Size([])}


def test_numpy_arrays_and_scalars():
    obj = [np.arange(6).reshape(2, 3).T, np.float64(0.1), np.bool_(True), np.complex64(1j), np.arange(3, dtype=">i4")]
    got = round_trip(obj)
    assert [type(item) for item in got] == [type(item) for item in obj]
    for one, other in zip(got, obj):
        assert np.array_equal(one, other) and one.shape == other.shape
    assert got[4].dtype == np.int32


def test_views_are_saved_contiguous_and_alone():
    base = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    data = packed(lg.from_numpy(base)[3:5, ::7])
    assert len(data) < 2000
    assert np.array_equal(values(load(io.BytesIO(data))), base[3:5, ::7])
    assert np.array_equal(values(round_trip(lg.from_numpy(base).t())), base.T)


def test_requires_grad_and_classes():
    leaf = tensor([1.0, 2.0])
    leaf.requires_grad_(True)
    frozen = lg.nn.Parameter(tensor([3.0]), requires_grad=False)
    trained = lg.nn.Parameter(tensor([4.0], "bfloat16"))
    buffer = lg.nn.Buffer(tensor([5.0]), persistent=False)
    obj = [leaf, frozen, trained, buffer, leaf * 2]
    got = round_trip(obj)
    assert [type(item) for item in got] == [type(item) for item in obj]
    # As in PyTorch, what was computed from a leaf that requires grad comes back as such a leaf itself.
    assert [item.requires_grad for item in got] == [True, False, True, False, True]
    assert values(got[4]).tolist() == [2.0, 4.0]
    assert got[3].persistent is False


def test_shared_objects_stay_shared():
    weight = lg.nn.Parameter(tensor([1.0, 2.0]))
    plain, empty_one, empty_two, items = tensor([1.0]), tensor([]), tensor([]), [1]
    got = round_trip(
        {"a": weight, "b": {"c": weight}, "d": (plain, plain), "e": [empty_one, empty_two], "f": [items] * 2}
    )
    assert got["a"] is got["b"]["c"]
    assert got["d"][0] is got["d"][1]
    assert got["e"][0] is not got["e"][1]
    assert got["f"][0] is got["f"][1]


def test_tensors_of_the_same_memory_are_stored_once_and_share_it_again():
    weight = tensor(np.zeros(10_000))
    obj = {"a": weight, "b": weight.detach(), "p": lg.nn.Parameter(weight)}
    data = packed(obj)
    assert len(data) < 50_000
    got = load(io.BytesIO(data))
    assert got["a"] is not got["b"]
    got["a"].fill_(7.0)
    assert values(got["b"])[0] == 7.0 and values(got["p"])[0] == 7.0


def test_copies_that_still_have_the_same_memory_stay_separate():
    original = tensor(np.zeros(10_000))
    data = packed([original, original.clone(), original.clone()])
    got = load(io.BytesIO(data))
    got[0].fill_(2.0)
    got[1].fill_(3.0)
    assert [values(item)[0] for item in got] == [2.0, 3.0, 0.0]


def test_a_loaded_array_is_not_a_loaded_tensors_memory():
    array = np.zeros(3, dtype=np.float32)
    got = round_trip([array, lg.from_numpy(array)])
    got[0][:] = 1.0
    assert values(got[1]).tolist() == [0.0, 0.0, 0.0]


def test_equal_but_separate_tensors_stay_separate():
    got = round_trip([tensor([1.0]), tensor([1.0])])
    got[0].fill_(2.0)
    assert values(got[1]).tolist() == [1.0]


def test_loaded_tensors_can_be_written_to():
    got = round_trip({"x": tensor([1.0])})
    got["x"].fill_(5.0)
    assert values(got["x"]).tolist() == [5.0]


def test_state_dict_metadata():
    state = collections.OrderedDict(weight=tensor([1.0]))
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    got = round_trip({"model": state})["model"]
    assert_same(got, state)
    assert got._metadata == state._metadata and type(got._metadata) is collections.OrderedDict


@pytest.fixture
def repeatable():
    """Kernels are waited for: otherwise one run may use them already, and differ from an earlier one by rounding."""
    lg.use_deterministic_algorithms(True)
    yield
    lg.use_deterministic_algorithms(False)


def test_module_and_optimizer_state(repeatable):
    nn, optim = lg.nn, lg.optim
    first, second = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    one, two = optim.Adam(first.parameters(), lr=0.1), optim.Adam(second.parameters(), lr=0.5)
    x = tensor(np.random.default_rng(0).standard_normal((8, 3)))
    for _ in range(2):
        one.zero_grad()
        (first(x) ** 2).sum().backward()
        one.step()
    checkpoint = round_trip({"model": first.state_dict(), "optimizer": one.state_dict(), "epoch": 2})
    second.load_state_dict(checkpoint["model"])
    two.load_state_dict(checkpoint["optimizer"])
    for model, optimizer in ((first, one), (second, two)):
        optimizer.zero_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()
    for (name, mine), (_, theirs) in zip(first.state_dict().items(), second.state_dict().items()):
        assert np.array_equal(values(mine), values(theirs)), name


def test_the_same_object_gives_the_same_bytes():
    obj = {"s": {f"item {i}" for i in range(20)}, "t": tensor([1.0])}
    assert packed(obj) == packed({"s": {f"item {i}" for i in reversed(range(20))}, "t": tensor([1.0])})


# -- what cannot be saved ------------------------------------------------------------------------------------


class Custom:
    pass


class Named(collections.namedtuple("Named", "a b")):
    pass


@pytest.mark.parametrize(
    "obj, message",
    [
        ({"model": {"x": Custom()}}, r"obj\['model'\]\['x'\].*Custom"),
        ([1, (2, {"k": len})], r"obj\[1\]\[1\]\['k'\].*builtin_function_or_method"),
        (Custom(), r"cannot save obj: objects of class .*Custom"),
        ([Named(1, 2)], r"obj\[0\].*Named.*plain tuple"),
        ({"d": collections.defaultdict(int)}, r"obj\['d'\].*collections.defaultdict.*plain dict"),
        ({"p": pathlib.PurePosixPath("x")}, r"obj\['p'\].*PurePosixPath"),
        ({Custom: 1}, r"obj, key <class .*class type"),
        ([{(1, len)}], r"obj\[0\], element"),
        ([np.array(["x"])], r"obj\[0\]: arrays of dtype"),
        ([np.array([Custom()])], r"obj\[0\]: arrays of dtype object"),
    ],
)
def test_other_classes_are_refused_with_their_place(obj, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        save(obj, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_objects_with_state_are_told_how_to_be_saved():
    class Model:
        def state_dict(self):
            return {}

    with pytest.raises(TypeError, match=r"Save its state_dict\(\) instead"):
        save({"model": Model()}, io.BytesIO())


def test_tensor_keys_are_refused():
    with pytest.raises(TypeError, match=r"obj\['x'\], key"):
        save({"x": {tensor(1.0): 1}}, io.BytesIO())


def test_cycles_and_extreme_depth_are_refused():
    cycle = {"list": []}
    cycle["list"].append(cycle)
    with pytest.raises(ValueError, match=r"obj\['list'\]\[0\].*contains itself"):
        save(cycle, io.BytesIO())
    deep = []
    for _ in range(99):
        deep = [deep]
    assert round_trip(deep) == deep
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        save([deep], io.BytesIO())


def test_structure_that_is_shared_many_times_stays_small():
    obj = [tensor([1.0])]
    for _ in range(60):
        obj = [obj, obj]
    assert len(packed(obj)) < 10_000
    got = round_trip(obj)
    assert got[0] is got[1]


def test_unsuitable_targets(tmp_path):
    with pytest.raises(TypeError, match='open it with "wb"'):
        save(1, io.StringIO())
    with pytest.raises(TypeError, match="not int"):
        save(1, 3)
    with pytest.raises(FileNotFoundError, match="no folder"):
        save(1, tmp_path / "missing" / "file")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(1, tmp_path)
    with pytest.raises(TypeError, match='open it with "rb"'):
        load(io.StringIO("x"))
    with pytest.raises(TypeError, match="not int"):
        load(3)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")


# -- files ---------------------------------------------------------------------------------------------------


def test_paths_of_every_kind(tmp_path):
    for path in (tmp_path / "a", str(tmp_path / "b"), os.fsencode(tmp_path / "c")):
        save({"x": tensor([1.0])}, path)
        assert values(load(path)["x"]).tolist() == [1.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_several_objects_in_one_file_object():
    file = io.BytesIO()
    file.write(b"before")
    save({"x": tensor([1.0])}, file)
    save([2], file)
    file.seek(6)
    assert values(load(file)["x"]).tolist() == [1.0]
    assert load(file) == [2]
    with pytest.raises(CheckpointError, match="the file is empty, or has been read to its end"):
        load(file)


def test_file_objects_that_are_slow_and_cannot_seek():
    class Trickle(io.RawIOBase):
        """Takes and gives a few bytes at a time, as pipes do."""

        def __init__(self, data=b""):
            self.data, self.position = bytearray(data), 0

        def writable(self):
            return True

        def readable(self):
            return True

        def write(self, chunk):
            self.data += bytes(chunk[:7])
            return min(7, len(chunk))

        def readinto(self, buffer):
            chunk = self.data[self.position : self.position + min(7, len(buffer))]
            buffer[: len(chunk)] = chunk
            self.position += len(chunk)
            return len(chunk)

    target = Trickle()
    save({"x": tensor(np.arange(10))}, target)
    assert bytes(target.data) == packed({"x": tensor(np.arange(10))})
    assert values(load(Trickle(target.data))["x"]).tolist() == list(range(10))


def test_writing_to_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    save([1, 2], path)
    assert load(io.BytesIO(reader.communicate(timeout=20)[0])) == [1, 2]
    assert stat.S_ISFIFO(path.stat().st_mode)


class Interrupting:
    """Makes ``write`` on the temporary file fail after some bytes."""

    def __init__(self, monkeypatch, error, after):
        original = serialization.writing._write

        def write(out, header, arrays):
            class Wrapper:
                left = after

                def write(self, chunk):
                    if self.left < len(chunk):
                        out.write(chunk[: self.left])
                        raise error
                    self.left -= len(chunk)
                    return out.write(chunk)

            original(Wrapper(), header, arrays)

        monkeypatch.setattr(serialization.writing, "_write", write)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), MemoryError()], ids=repr
)
@pytest.mark.parametrize("after", [0, 100, 3000])
def test_failing_to_write_leaves_the_old_file(tmp_path, monkeypatch, error, after):
    path = tmp_path / "file"
    save("old", path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        Interrupting(patch, error, after)
        with pytest.raises(type(error)):
            save({"x": tensor(np.zeros(1000))}, path)
        with pytest.raises(type(error)):
            save({"x": tensor(np.zeros(1000))}, tmp_path / "new")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    save("old", path)
    program = f"""
        import os, livegrad, numpy
        os.replace = lambda *_: os._exit(9)
        livegrad.save([1, 2, 3], {str(path)!r})
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=120).returncode == 9
    assert load(path) == "old"


def test_permissions_and_links(tmp_path):
    umask = os.umask(0o027)
    try:
        path = tmp_path / "file"
        save(1, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        save(2, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(umask)
    link = tmp_path / "link"
    link.symlink_to("file")
    save(3, link)
    assert link.is_symlink() and load(path) == 3
    if os.geteuid() != 0:
        path.chmod(0o400)
        with pytest.raises(PermissionError, match="read-only"):
            save(4, path)
        assert load(path) == 3


def test_long_file_names(tmp_path):
    path = tmp_path / ("x" * 250)
    save(1, path)
    assert load(path) == 1


# -- other programs ------------------------------------------------------------------------------------------


def test_other_programs_can_read_the_tensors(tmp_path):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "file.safetensors"
    arrays = {name: example(name) for name in DTYPES if name != "bfloat16"}
    state = {"layer": {name: lg.from_numpy(array) for name, array in arrays.items()}, "steps": [tensor([1.0])], "n": 3}
    save(state, path)
    got = safetensors_numpy.load_file(path)
    assert got.keys() == {*(f"layer.{name}" for name in arrays), "steps.0"}
    for name, array in arrays.items():
        assert np.array_equal(got[f"layer.{name}"], array) and got[f"layer.{name}"].dtype == array.dtype


def test_pytorch_reads_our_bfloat16(tmp_path):
    pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    path = tmp_path / "file.safetensors"
    save({"b": tensor([1.5, -2.0], "bfloat16"), "empty": tensor(np.zeros((0, 3)))}, path)
    got = load_file(path)
    assert got["b"].tolist() == [1.5, -2.0] and str(got["b"].dtype) == "torch.bfloat16"
    assert tuple(got["empty"].shape) == (0, 3)


def test_names_that_collide(tmp_path):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    obj = {"a": {"b": tensor([1.0])}, "a.b": tensor([2.0]), "__metadata__": tensor([3.0]), "": tensor([4.0])}
    save(obj, tmp_path / "file")
    assert_same(load(tmp_path / "file"), obj)
    assert {name: array[0] for name, array in safetensors_numpy.load_file(tmp_path / "file").items()} == {
        "a.b": 1.0,
        "a.b#2": 2.0,
        "__metadata__#2": 3.0,
        "tensor": 4.0,
    }


def test_safetensors_files_from_elsewhere(tmp_path):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    arrays = {"w": example("float32"), "i": example("int64"), "b": example("bool"), "e": np.zeros((0, 2), np.float16)}
    safetensors_numpy.save_file(arrays, tmp_path / "file", metadata={"format": "pt"})
    got = load(tmp_path / "file")
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(values(got[name]), array) and values(got[name]).dtype == array.dtype


def test_dtypes_that_livegrad_has_not():
    header = b'{"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}'
    with pytest.raises(CheckpointError, match="F8_E4M3 of tensor 'x'.*Convert it"):
        load(io.BytesIO(struct.pack("<Q", len(header)) + header + b"\0"))


# -- damaged and foreign files -------------------------------------------------------------------------------


def sample():
    return {
        "weights": [tensor(np.arange(12.0).reshape(3, 4)), tensor([1, 2, 3], "int64")],
        "name": "sample",
        "lr": 0.25,
    }


def test_every_truncation_is_noticed(tmp_path):
    data = packed(sample())
    path = tmp_path / "file"
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="expected .* found .*"):
            load(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(CheckpointError, match="The file is damaged or incomplete"):
        load(path)


def test_every_changed_byte_is_noticed():
    data = packed(sample())
    for position in range(len(data)):
        for change in (1, 128):
            changed = bytearray(data)
            changed[position] ^= change
            with pytest.raises(CheckpointError):
                load(io.BytesIO(changed))


def test_messages_say_what_to_do(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(packed(sample())[:-5])
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert repr(str(path)) in message
    assert "expected 120 bytes of tensors, found only 115 bytes" not in message  # 48 + 24 bytes, not more
    assert "expected 72 bytes of tensors, found only 67 bytes" in message
    assert "copy or download it again" in message


@pytest.mark.parametrize(
    "data, what",
    [
        (b"", "the file is empty"),
        (b"\0" * 100, "only zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\x93NUMPY\x01\x00", "numpy.load"),
        (pickle.dumps({"a": 1}), "Python pickle"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"random text that is long enough", "begins with b'random text that'"),
        (b"abc", "begins with b'abc'"),
        (struct.pack("<Q", 2**60) + b'{"a":1}', "100000000 bytes"),
        (struct.pack("<Q", 10**6) + b'{"a":1}', "only 7 bytes"),
    ],
)
def test_foreign_files(data, what, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=what):
        load(path)
    with pytest.raises(CheckpointError, match=what):
        load(io.BytesIO(data))


def test_npz_and_other_zips():
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    with pytest.raises(CheckpointError, match="npz"):
        load(io.BytesIO(file.getvalue()))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match="another zip"):
        load(io.BytesIO(file.getvalue()))


def forged(structure, header=None, data=b"", **metadata):
    """A file with valid checksums and any content."""
    table = header or {}
    about = {
        "format": "livegrad",
        "format_version": "1",
        "structure": json.dumps(structure) if not isinstance(structure, str) else structure,
        "checksums": json.dumps(
            {name: zlib.crc32(data[slice(*entry["data_offsets"])]) for name, entry in table.items()}
        ),
        **metadata,
    }
    about["header_crc32"] = serialization.layout.header_checksum(about, table)
    text = json.dumps({"__metadata__": about, **table}).encode()
    return io.BytesIO(struct.pack("<Q", len(text)) + text + data)


FORGED = [
    {"ref": 0},
    {"ref": -1},
    {"ref": "x"},
    {"tuple": [{"ref": 0}]},
    {},
    {"eval": "1"},
    {"tensor": "missing", "kind": "tensor", "device": "cpu", "storage": 0},
    {"tensor": "missing", "kind": "tensor", "device": "cpu", "storage": []},
    {"tensor": "missing", "kind": "module", "device": "cpu", "storage": 0},
    {"tensor": "missing"},
    {"tensor": []},
    {"dict": ["odd"]},
    {"dict": 5},
    {"dict": [[], 1]},
    {"dict": [{"list": []}, 1]},
    {"set": [{"dict": []}]},
    {"dtype": "Tensor"},
    {"dtype": "__class__"},
    {"device": "mainframe"},
    {"size": ["a"]},
    {"size": 1},
    {"complex": [1]},
    {"complex": ["1", 2]},
    {"bytes": "not base64!"},
    {"bytes": 1},
    {"int": "zz"},
    {"float": "zz"},
    {"OrderedDict": [], "_metadata": {"ref": 99}},
    "[" * 100_000,
    '{"tuple":[' * 400 + "]}" * 400,
    '{"set":[' + '{"tuple":[' * 400 + "]}" * 400 + "]}",
    "not json",
]


@pytest.mark.parametrize("structure", FORGED, ids=range(len(FORGED)))
def test_forged_structures(structure):
    with pytest.raises(CheckpointError, match="expected the description of a saved object"):
        load(forged(structure))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]},
        {"dtype": 1, "shape": [1], "data_offsets": [0, 4]},
        {"shape": [1], "data_offsets": [0, 4]},
        [],
        None,
    ],
    ids=range(16),
)
def test_forged_tables(entry):
    text = json.dumps({"x": entry}).encode()
    with pytest.raises(CheckpointError):
        load(io.BytesIO(struct.pack("<Q", len(text)) + text + b"\0" * 4))


def test_newer_formats_are_recognised():
    with pytest.raises(CheckpointError, match="expected version 1 of the livegrad format, found version 2.*upgrade"):
        load(forged(None, format_version="2"))


def test_booleans_are_made_sound():
    table = {"x": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}}
    node = {"tensor": "x", "kind": "tensor", "storage": 0, "device": "cpu", "requires_grad": False}
    got = load(forged(node, table, b"\x00\x01\x07"))
    assert values(got).view(np.uint8).tolist() == [0, 1, 1]


def test_integers_that_require_gradients():
    table = {"x": {"dtype": "I8", "shape": [], "data_offsets": [0, 1]}}
    for kind in ("tensor", "parameter", "buffer"):
        node = {"tensor": "x", "kind": kind, "storage": 0, "device": "cpu", "requires_grad": True}
        with pytest.raises(CheckpointError, match="int8 tensor that requires gradients"):
            load(forged(node, table, b"\0"))
    with pytest.raises(CheckpointError, match="requires gradients"):
        Archive(tensor_pickle(0, (1,), (1,), "IntStorage", grad=True), FLOATS).load()


# -- map_location --------------------------------------------------------------------------------------------


def on_gpu():
    table = {"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
    node = {"tensor": "x", "kind": "parameter", "storage": 0, "device": "cuda:0", "requires_grad": False}
    return forged([node, node], table, b"\x05")


def test_map_location():
    for where in ("cpu", lg.device("cpu"), {"cuda:0": "cpu"}, lambda t, _: t):
        got = load(on_gpu(), map_location=where)
        assert [values(item).tolist() for item in got] == [[5], [5]]
        assert got[0].device == lg.device("cpu")
    seen = []
    load(io.BytesIO(packed(tensor([1.0]))), map_location=lambda t, location: seen.append((t, location)))
    assert seen[0][1] == "cpu" and isinstance(seen[0][0], lg.Tensor)


def test_a_device_that_is_not_there():
    cuda = getattr(lg, "cuda", None)
    if cuda is not None and cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(RuntimeError, match="device 'cuda:0'.*map_location=\"cpu\""):
        load(on_gpu())


def test_errors_of_map_location_are_the_callers_own():
    def fail(t, location):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        load(on_gpu(), map_location=fail)
    with pytest.raises(TypeError, match="map_location must be"):
        load(on_gpu(), map_location=1.5)


# -- PyTorch's files -----------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/should-not-exist",)


class Archive:
    """Writes zip files of the shape that torch.save writes, with any pickle."""

    def __init__(self, body, storages=(), compression=zipfile.ZIP_STORED, extra=()):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            archive.writestr("archive/data.pkl", body)
            for key, data in storages:
                archive.writestr(f"archive/data/{key}", data)
            for name, data in extra:
                archive.writestr(name, data)
        self.data = file.getvalue()

    def load(self, **kwargs):
        return load(io.BytesIO(self.data), **kwargs)


def tensor_pickle(offset, size, stride, storage="FloatStorage", key="0", grad=False, tail=b"."):
    """The pickle of one tensor as torch.save writes it, with arguments that need not make sense."""
    out = io.BytesIO()

    def put(obj):
        out.write(pickle.dumps(obj, 2)[2:-1])

    out.write(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((")
    put("storage")
    out.write(f"ctorch\n{storage}\n".encode())
    put(key)
    put("cpu")
    put(4)
    out.write(b"tQ")
    put(offset)
    put(size)
    put(stride)
    put(grad)
    out.write(b"ccollections\nOrderedDict\n)RtR" + tail)
    return out.getvalue()


FLOATS = [("0", np.arange(4, dtype="<f4").tobytes())]


def test_a_pytorch_file_without_pytorch():
    assert values(Archive(tensor_pickle(0, (2, 2), (2, 1)), FLOATS).load()).tolist() == [[0, 1], [2, 3]]
    assert values(Archive(tensor_pickle(1, (2,), (2,)), FLOATS).load()).tolist() == [1, 3]
    assert values(Archive(tensor_pickle(3, (), ()), FLOATS).load()).tolist() == 3
    assert values(Archive(tensor_pickle(0, (3,), (0,)), FLOATS).load()).tolist() == [0, 0, 0]
    assert Archive(tensor_pickle(0, (1,), (1,), grad=True), FLOATS).load().requires_grad
    # A storage may be seen as other types: here its bytes.
    assert values(Archive(tensor_pickle(4, (4,), (1,), "ByteStorage"), FLOATS).load()).tolist() == [0, 0, 128, 63]


@pytest.mark.parametrize(
    "offset, size, stride",
    [
        (0, (5,), (1,)),
        (4, (1,), (1,)),
        (0, (2,), (4,)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (1, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, (1.0,), (1,)),
        (0, (True,), (1,)),
        (0, [1], [1]),
        ("0", (1,), (1,)),
        (2**70, (1,), (1,)),
        (0, (2**40,), (0,)),
        (0, (2**30, 2**30, 2**30), (0, 0, 0)),
        (0, (1,) * 65, (1,) * 65),
        (0, None, None),
    ],
)
def test_tensors_stay_within_their_storage_and_the_file(offset, size, stride):
    with pytest.raises(pickle.UnpicklingError):
        Archive(tensor_pickle(offset, size, stride), FLOATS).load()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_never_run_code(protocol):
    with pytest.raises(pickle.UnpicklingError, match=r"GLOBAL (posix|nt|os)\.system was not an allowed"):
        Archive(pickle.dumps({"a": [Evil()]}, protocol)).load()
    assert not os.path.exists("/tmp/should-not-exist")
    with pytest.raises(pickle.UnpicklingError, match="could run code"):
        Archive(pickle.dumps(Evil(), protocol)).load(weights_only=True)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("obj", PLAIN, ids=range(len(PLAIN)))
def test_plain_objects_in_pickles(obj, protocol):
    assert_same(Archive(pickle.dumps([obj, obj], protocol)).load(), [obj, obj])


@pytest.mark.parametrize(
    "obj, name",
    [
        (Named(1, 2), "test_serialization.Named"),
        (collections.defaultdict(int), "collections.defaultdict"),
        (collections.Counter("a"), "collections.Counter"),
        (range(3), "builtins.(x)?range"),
        (len, "builtins.len"),
        (np.array([None]), "its pickle is damaged|dtype 'O8'"),
        (pathlib.PurePosixPath("x"), "PurePosixPath"),
        (slice(1), "builtins.slice"),
    ],
)
def test_other_classes_in_pickles_are_named(obj, name):
    with pytest.raises(pickle.UnpicklingError, match=name):
        Archive(pickle.dumps(obj, 2)).load()


PICKLES = {
    "no operands": b"\x80\x02R.",
    "nothing at all": b"",
    "no end": b"\x80\x02N",
    "nothing to return": b"\x80\x02.",
    "an unknown instruction": b"\x80\x02i.",
    "calling a dict": b"\x80\x02}(tR.",
    "calling a function of livegrad on rubbish": b"\x80\x02ctorch._utils\n_rebuild_parameter\n(K\x01\x88NtR.",
    "a wrong number of arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(tR.",
    "filling a tuple": b"\x80\x02)K\x01a.",
    "attributes of a dict": b"\x80\x02}}b.",
    "attributes of a function": b"\x80\x02ctorch\nSize\n}b.",
    "other attributes": b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.",
    "filling a function": b"\x80\x02ctorch\nSize\nK\x01K\x02s.",
    "an unknown memory": b"\x80\x02h\x07.",
    "a list as key": b"\x80\x02}]K\x01s.",
    "a mark that is not there": b"\x80\x02t.",
    "an object beyond a mark": b"\x80\x02](a.",
    "an odd number of items": b"\x80\x02}(K\x01u.",
    "a name that is not text": b"\x80\x04K\x01K\x02\x93.",
    "a dotted name": b"\x80\x04\x8c\x05torch\x8c\x0eSize.__class__\x93.",
    "a module's attribute": b"\x80\x04\x8c\x05torch\x8c\x04load\x93.",
    "getattr": b"\x80\x02c__builtin__\ngetattr\n.",
    "a function by itself": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.",
    "a function in a tuple": b"\x80\x02ctorch\nSize\n\x85.",
    "a storage by itself": b"\x80\x02ctorch\nFloatStorage\n.",
    "a persistent reference to something else": b"\x80\x02K\x01Q.",
    "encoding to something else": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "bytes of any size": b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    "a bytearray of any size": b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "text that is not UTF-8": b"\x80\x02X\x01\x00\x00\x00\xff.",
    "a string longer than the file": b"\x80\x02X\xff\xff\xff\x7fa.",
    "a device": b"\x80\x02ctorch\ndevice\nX\x03\x00\x00\x00tpu\x85R.",
    "a dtype that is not there": b"\x80\x02ctorch\nfloat8_e4m3fn\n.",
}


@pytest.mark.parametrize("body", PICKLES.values(), ids=PICKLES)
def test_pickles_that_make_no_sense(body):
    with pytest.raises(pickle.UnpicklingError):
        Archive(body).load()


def test_pickles_do_not_expand():
    # One megabyte of text, encoded again and again.
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x00" + b"0"
    encode = b"c_codecs\nencode\nq\x010X\x06\x00\x00\x00latin1q\x020"
    with pytest.raises(pickle.UnpicklingError, match="far more than its size"):
        Archive(b"\x80\x02]" + text + encode + b"h\x01h\x00h\x02\x86Ra" * 1000 + b".").load()
    # A key whose hash would take 2**60 steps.
    with pytest.raises(pickle.UnpicklingError, match="more than 1000 parts"):
        Archive(b"\x80\x02}K\x01" + b"q\x000h\x00h\x00\x86" * 60 + b"K\x01s.").load()
    # An element, seen a million times as a million elements.
    body = tensor_pickle(0, (2**20,), (0,), tail=b"")
    many = b"".join(tensor_pickle(0, (2**20 + i,), (0,), tail=b"a")[2:] for i in range(100))
    with pytest.raises(pickle.UnpicklingError, match="far larger than the file"):
        Archive(b"\x80\x02](" + body[2:] + b"1" + many + b".", FLOATS).load()


def test_windows_onto_one_storage_stay_so():
    torch = pytest.importorskip("torch")
    whole = torch.arange(12.0).reshape(3, 4)
    got = from_torch([whole.t(), whole[1], whole, whole[:, ::2]])
    got[1].fill_(9.0)
    assert got[0].stride() == (1, 4) and got[0].tolist()[0] == [0.0, 9.0, 8.0]
    assert got[2].tolist()[1] == [9.0] * 4 and got[3].tolist()[1] == [9.0] * 2 and got[0]._base is None


def test_archives_do_not_expand():
    body = pickle.dumps([0] * 1000, 2)
    with pytest.raises(CheckpointError, match="compressed"):
        Archive(body, compression=zipfile.ZIP_DEFLATED).load()
    # Two names for one piece of the file.
    archive = bytearray(Archive(body, [("0", b"x" * 1000)]).data)
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        entries = file.infolist()
    central = archive.find(b"PK\x01\x02")
    second = archive.find(b"PK\x01\x02", central + 4)
    for field in (20, 24):  # compressed and plain size
        archive[second + field : second + field + 4] = struct.pack("<I", 10**6)
    with pytest.raises(CheckpointError):
        load(io.BytesIO(bytes(archive)))
    assert len(entries) == 2


def test_damaged_archives():
    good = Archive(tensor_pickle(0, (4,), (1,)), FLOATS).data
    for length in range(4, len(good), 7):
        with pytest.raises(CheckpointError):
            load(io.BytesIO(good[:length]))
    position = good.find(FLOATS[0][1])
    changed = good[:position] + b"\x01" + good[position + 1 :]
    with pytest.raises(CheckpointError, match="checksum differs"):
        load(io.BytesIO(changed))
    with pytest.raises(CheckpointError, match="'archive/data/0', found none"):
        Archive(tensor_pickle(0, (4,), (1,))).load()


def test_random_damage_to_archives_raises_only_our_errors():
    good = Archive(tensor_pickle(0, (4,), (1,)), FLOATS, extra=[("archive/byteorder", b"little")]).data
    numbers = np.random.default_rng(0)
    for _ in range(2000):
        changed = bytearray(good)
        for position in numbers.integers(0, len(good), numbers.integers(1, 4)):
            changed[position] = numbers.integers(256)
        with contextlib.suppress(CheckpointError, pickle.UnpicklingError):
            load(io.BytesIO(changed), map_location="cpu")


def test_random_pickles_raise_only_our_errors():
    good = tensor_pickle(0, (2, 2), (2, 1))
    numbers = np.random.default_rng(1)
    for _ in range(3000):
        changed = bytearray(good)
        for position in numbers.integers(0, len(good), numbers.integers(1, 5)):
            changed[position] = numbers.integers(256)
        with contextlib.suppress(CheckpointError, pickle.UnpicklingError):
            Archive(bytes(changed), FLOATS).load(map_location="cpu")


def test_programs_are_not_weights():
    archive = Archive(pickle.dumps(1, 2), extra=[("archive/constants.pkl", b"")])
    with pytest.raises(CheckpointError, match="TorchScript"):
        archive.load()


def test_big_endian_archives():
    archive = Archive(
        tensor_pickle(0, (4,), (1,)),
        [("0", np.arange(4, dtype=">f4").tobytes())],
        extra=[("archive/byteorder", b"big")],
    )
    assert values(archive.load()).tolist() == [0, 1, 2, 3]


def torch_packed(obj, **kwargs):
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save(obj, file, **kwargs)
    return file.getvalue()


def from_torch(obj, **kwargs):
    return load(io.BytesIO(torch_packed(obj, **kwargs)))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", DTYPES)
def test_pytorch_tensors(name, protocol):
    torch = pytest.importorskip("torch")
    array = example(name, (3, 4))
    if name == "bfloat16":
        original = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    else:
        original = torch.from_numpy(array)
    got = from_torch({"t": original, "view": original[1:, ::2], "scalar": original[0, 0]}, pickle_protocol=protocol)
    assert got["t"].dtype is getattr(lg, name)
    assert values(got["t"]).tobytes() == array.tobytes()
    assert np.array_equal(values(got["view"]), array[1:, ::2])
    assert values(got["scalar"]) == array[0, 0] and values(got["scalar"]).shape == ()


def test_pytorch_objects():
    torch = pytest.importorskip("torch")
    weight = torch.ones(3)
    got = from_torch(
        {
            "leaf": torch.ones(2, requires_grad=True),
            "parameter": torch.nn.Parameter(torch.zeros(2)),
            "frozen": torch.nn.Parameter(torch.zeros(2), requires_grad=False),
            "again": [weight, weight],
            "alias": weight.detach(),
            "dtype": torch.bfloat16,
            "device": torch.device("cuda:1"),
            "size": torch.Size([1, 2]),
            "empty": torch.zeros(0, 3),
            "expanded": torch.tensor([7.0]).expand(5),
            "transposed": torch.arange(6).reshape(2, 3).t(),
            "negative": torch.tensor([1 + 2j]).conj().imag,
            "bytes": b"\x00\xff",
        }
    )
    assert type(got["leaf"]) is lg.Tensor and got["leaf"].requires_grad
    assert type(got["parameter"]) is lg.nn.Parameter and got["parameter"].requires_grad
    assert type(got["frozen"]) is lg.nn.Parameter and not got["frozen"].requires_grad
    assert got["again"][0] is got["again"][1]
    got["again"][0].fill_(9.0)
    assert values(got["alias"]).tolist() == [9, 9, 9]
    assert got["dtype"] is lg.bfloat16 and got["device"] == lg.device("cuda:1")
    assert got["size"] == lg.Size([1, 2]) and type(got["size"]) is lg.Size
    assert tuple(got["empty"].shape) == (0, 3)
    assert values(got["expanded"]).tolist() == [7] * 5
    assert values(got["transposed"]).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert values(got["negative"]).tolist() == [-2]
    assert got["bytes"] == b"\x00\xff"


def test_pytorch_state_dicts(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    path = tmp_path / "model.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, path)
    got = load(path)
    assert list(got["model"]) == list(model.state_dict())
    assert got["model"]._metadata == model.state_dict()._metadata
    for name, original in model.state_dict().items():
        assert np.array_equal(values(got["model"][name]), original.numpy())
    assert got["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    for key, slot in optimizer.state_dict()["state"].items():
        for name, original in slot.items():
            assert np.array_equal(values(got["optimizer"]["state"][key][name]), original.numpy())


def test_pytorch_files_without_checksums():
    torch = pytest.importorskip("torch")
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        assert values(from_torch(torch.arange(3))).tolist() == [0, 1, 2]
    finally:
        torch.serialization.set_crc32_options(before)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pytorch_things_that_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.modules\.linear\.Linear.*state_dict"):
        from_torch(torch.nn.Linear(1, 1))
    with pytest.raises(pickle.UnpicklingError, match="_rebuild_sparse_tensor"):
        from_torch(torch.eye(2).to_sparse())
    with pytest.raises(pickle.UnpicklingError, match="_rebuild_meta_tensor"):
        from_torch(torch.zeros(2, device="meta"))
    with pytest.raises((pickle.UnpicklingError, CheckpointError), match="complex32"):
        from_torch(torch.zeros(2, dtype=torch.complex32))
    with pytest.raises((pickle.UnpicklingError, CheckpointError), match="uint16"):
        from_torch(torch.zeros(2, dtype=torch.uint16))
    with pytest.raises(CheckpointError, match="TorchScript"):
        file = io.BytesIO()
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), file)
        load(io.BytesIO(file.getvalue()))


def test_pytorch_file_after_other_bytes():
    file = io.BytesIO(b"before" + torch_packed({"a": 1}))
    file.seek(6)
    assert load(file) == {"a": 1}
