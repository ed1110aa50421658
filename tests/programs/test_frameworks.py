"""What frameworks around training loops take from PyTorch besides layers and optimizers."""

import copy
import io
import pickle
import subprocess
import sys

import pytest

import livegrad
from livegrad import nn
from livegrad.nn.parameter import UninitializedParameter, is_lazy
from livegrad.utils.data import DataLoader, dataloader
from livegrad.utils.flop_counter import FlopCounterMode


def test_a_parameter_without_a_shape():
    holder = nn.Module()
    holder.w = UninitializedParameter(dtype=livegrad.float64)
    assert is_lazy(holder.w) and isinstance(holder.w, nn.Parameter) and list(holder.parameters()) == [holder.w]
    for again in (copy.deepcopy(holder.w), pickle.loads(pickle.dumps(holder.w))):
        assert is_lazy(again) and again.dtype is livegrad.float64
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        holder.w.shape  # noqa: B018
    optimizer = livegrad.optim.SGD(holder.parameters(), lr=0.5)
    holder.w.materialize((2, 3))
    nn.init.ones_(holder.w)
    holder.w.sum().backward()
    optimizer.step()
    assert type(holder.w) is nn.Parameter and not is_lazy(holder.w)
    assert holder.w.tolist() == [[0.5] * 3] * 2


def test_records_of_a_file():
    file = io.BytesIO()
    livegrad.save({"w": livegrad.ones(3, dtype=livegrad.float64)}, file)
    reader = livegrad.PyTorchFileReader(file)
    assert {"data.pkl", "data/0", "version"} <= set(reader.get_all_records())
    assert reader.has_record("data/0") and not reader.has_record("data/1")
    assert livegrad.frombuffer(bytearray(reader.get_record("data/0")), dtype=livegrad.float64).tolist() == [1.0] * 3
    torch = pytest.importorskip("torch")
    file.seek(0)
    theirs = torch.PyTorchFileReader(file)
    assert sorted(theirs.get_all_records()) == sorted(reader.get_all_records())
    assert theirs.get_record("data/0") == reader.get_record("data/0")


def test_what_goes_through_a_loader_has_pytorchs_names():
    loader = DataLoader([1.0, 2.0])
    assert isinstance(iter(loader), dataloader._SingleProcessDataLoaderIter)
    assert issubclass(dataloader._MultiProcessingDataLoaderIter, dataloader._BaseDataLoaderIter)


def test_plain_modules_are_not_scripted():
    assert not isinstance(livegrad.jit.script(nn.Linear(1, 1)), livegrad.ScriptModule)
    assert livegrad.profiler.kineto_available()
    with livegrad.autograd.profiler.emit_nvtx(enabled=False):
        pass
    with pytest.raises(RuntimeError, match="does not mark"), livegrad.autograd.profiler.emit_nvtx():
        pass


def test_arguments_of_to_are_read():
    device, dtype, non_blocking, memory_format = livegrad._C._nn._parse_to("cpu", livegrad.float64, non_blocking=True)
    assert (device, dtype, non_blocking, memory_format) == (livegrad.device("cpu"), livegrad.float64, True, None)
    assert livegrad._C._nn._parse_to(livegrad.float16)[:2] == (None, livegrad.float16)


def counted(m):
    """Counts of FlopCounterMode, of library m."""
    F = m.nn.functional
    net = m.nn.Sequential(m.nn.Conv2d(3, 8, 3), m.nn.ReLU(), m.nn.Sequential(m.nn.Flatten(), m.nn.Linear(288, 10)))

    def r(*shape):
        return m.ones(*shape, requires_grad=True)

    programs = [
        lambda: net(m.ones(4, 3, 8, 8)).sum().backward(),
        lambda: m.einsum("ij,jk->ik", r(3, 4), r(4, 5)).sum().backward(),
        lambda: (r(2, 3, 4) @ r(2, 4, 5).detach()).sum().backward(),
        lambda: m.addmm(r(5), r(3, 4), r(4, 5)).sum().backward(),
        lambda: m.nn.ConvTranspose2d(4, 6, 3)(r(2, 4, 5, 5)).sum().backward(),
        lambda: F.linear(r(2, 3, 4), r(6, 4)).exp().sum().backward(),
        lambda: m.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)(r(2, 3, 8)).sum().backward(),
        lambda: r(3).exp().sum().backward(),
    ]
    counter = m.utils.flop_counter.FlopCounterMode(display=False)
    found = []
    for program in programs:
        with counter:
            program()
        counts = counter.get_flop_counts()
        found.append((counter.get_total_flops(), {module: sum(of.values()) for module, of in counts.items()}))
    return found


def test_operations_are_counted():
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.utils.flop_counter")
    for ours, theirs in zip(counted(livegrad), counted(torch)):
        assert ours[0] == theirs[0]
        assert ours[1].get("Global", 0) == theirs[1].get("Global", 0)
        assert {k: n for k, n in ours[1].items() if n} == {k: n for k, n in theirs[1].items() if n}


def test_counts_as_a_table(capsys):
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    with FlopCounterMode(depth=1), livegrad.no_grad():
        model(livegrad.ones(10, 8))
    text = capsys.readouterr().out
    assert "Sequential" in text and "Sequential.1" not in text and "800" in text
    model(livegrad.ones(10, 8))  # nobody counts any more


def test_the_class_of_tensors_has_pytorchs_name():
    assert isinstance(livegrad.Tensor, livegrad._C._TensorMeta)


def test_divergences_of_what_distributions_are_derived_from():
    class Base:
        pass

    class Mine(livegrad.distributions.Normal, Base):
        pass

    @livegrad.distributions.register_kl(Mine, Base)
    def divergence(p, q):
        return livegrad.zeros(()) + 7

    mine = Mine(0.0, 1.0)
    assert livegrad.distributions.kl_divergence(mine, mine).item() == 7.0
    with pytest.raises(TypeError, match="Expected type_q to be a Distribution subclass"):
        livegrad.distributions.register_kl(Mine, mine)


def test_the_package_is_called_torch_where_programs_import_it_so():
    program = """
import livegrad
from livegrad import compat
compat.install()
import torch
from torch.serialization import MAP_LOCATION
print(torch is livegrad, torch.__name__)
compat.uninstall()
print(livegrad.__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "torch", "livegrad"], done.stderr
