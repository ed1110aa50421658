"""Whole modules in safetensors files: what comes back, what is shared, who is asked first."""

import functools
import io
import json
import pickle
import struct
import sys

import pytest

import livegrad
from livegrad import load, nn

save = functools.partial(livegrad.save, format="safetensors")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, 3)
        self.last.weight = nn.Parameter(livegrad.ones(3, 3))
        self.tied = self.last.weight
        self.names = {"a": (1, 2)}
        self.extra = livegrad.arange(3)

    def forward(self, x):
        return self.last(self.norm(self.first(x))) + len(self.names)


def again(obj, **options):
    file = io.BytesIO()
    save(obj, file)
    file.seek(0)
    return load(file, **options)


def test_a_module_comes_back_whole():
    livegrad.manual_seed(0)
    net = Net()
    x = livegrad.randn(4, 2)
    net(x)
    net.eval()
    made = again(net, weights_only=False)
    assert type(made) is Net and not made.training and made.names == {"a": (1, 2)}
    assert made(x).tolist() == net(x).tolist()
    assert made.tied is made.last.weight and made.norm.running_mean.tolist() == net.norm.running_mean.tolist()
    assert made.extra.tolist() == [0, 1, 2]
    made.train()(x).sum().backward()
    assert made.first.weight.grad is not None


def test_what_is_shared_stays_shared():
    net = Net()
    made = again({"net": net, "same": net, "weight": net.first.weight}, weights_only=False)
    assert made["net"] is made["same"] and made["weight"] is made["net"].first.weight


def test_the_caller_is_asked_before_a_file_runs_anything():
    with pytest.raises(pickle.UnpicklingError, match=r"whole module with .*Net,.*weights_only=False"):
        again({"net": Net()})


def test_classes_are_named_as_safe():
    serialization = livegrad.serialization
    with serialization.safe_globals([Net]):
        assert serialization.get_safe_globals() == [Net]
        assert type(again(Net())) is Net
        with pytest.raises(pickle.UnpicklingError, match="Other"):
            again(Other())
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([Other])
    assert again(Other()).f(livegrad.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    serialization.clear_safe_globals()
    assert type(again(nn.TransformerEncoderLayer(4, 2))) is nn.TransformerEncoderLayer  # the library's own


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.functional.relu


def test_only_the_librarys_functions_are_found_by_name():
    from livegrad.serialization.modules import named_function

    with pytest.raises(pickle.UnpicklingError, match=r"os.system is no function"):
        named_function("os", "system")


def test_tensors_lie_outside_under_their_names():
    file = io.BytesIO()
    save(Net(), file)
    raw = file.getvalue()
    (length,) = struct.unpack("<Q", raw[:8])
    assert {"first.weight", "norm.running_mean", "last.weight"} <= json.loads(raw[8 : 8 + length]).keys()


def test_modules_that_cannot_be_pickled_are_named():
    net = Net()
    net.f = lambda x: x
    with pytest.raises(TypeError, match=r"cannot save obj\['net'\].*Net cannot be .*state_dict"):
        save({"net": net}, io.BytesIO())


def test_a_class_that_is_gone_is_reported_as_it_is(monkeypatch):
    file = io.BytesIO()
    save(Net(), file)
    file.seek(0)
    monkeypatch.delattr(sys.modules[__name__], "Net")
    with pytest.raises(AttributeError, match="Net"):
        load(file, weights_only=False)


def test_map_location_reaches_the_tensors_of_a_module():
    seen = []

    def where(tensor, saved_on):
        seen.append(saved_on)
        return tensor

    again(nn.Linear(2, 1), map_location=where, weights_only=False)
    assert seen == ["cpu", "cpu"]
