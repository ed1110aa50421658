"""What public libraries do with PyTorch when they are imported, and before they choose a path."""

import copy
import importlib
import pickle
import threading

import pytest

import livegrad
from livegrad.futures import Future, collect_all, wait_all

NAMES = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
         "float8_e8m0fnu", "complex32", "qint8", "quint8", "qint32", "quint4x2", "quint2x4"]  # fmt: skip
SMALL = [f"{kind}{bits}" for kind in ("int", "uint") for bits in range(1, 8)]


@pytest.mark.parametrize("name", [*NAMES, *SMALL])
def test_dtypes_that_are_only_names(name):
    d = getattr(livegrad, name)
    assert isinstance(d, livegrad.dtype) and repr(d) == f"torch.{name}"
    assert d not in (livegrad.ones(1).dtype, livegrad.uint8, livegrad.int16)
    assert copy.deepcopy(d) is d and pickle.loads(pickle.dumps(d)) is d
    for make in (
        lambda: livegrad.zeros(2, dtype=d),
        lambda: livegrad.tensor([1], dtype=d),
        lambda: livegrad.ones(2).to(d),
        lambda: livegrad.ones(2).to(dtype=d),
        lambda: livegrad.empty(2, dtype=d),
        lambda: livegrad.zeros_like(livegrad.ones(2), dtype=d),
    ):
        with pytest.raises(TypeError, match=f"no tensors of dtype torch.{name}"):
            make()


@pytest.mark.parametrize("name", NAMES)
def test_their_properties_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    if not hasattr(torch, name):
        pytest.skip(f"this PyTorch has no {name}")
    ours, theirs = getattr(livegrad, name), getattr(torch, name)
    signed = () if name.startswith("q") else ("is_signed",)  # which PyTorch does not answer
    for what in ("itemsize", "is_floating_point", "is_complex", *signed):
        assert getattr(ours, what) == getattr(theirs, what), what

    limits = "finfo" if ours.is_floating_point or ours.is_complex else "iinfo"
    for what in ("bits", "max", "min"):
        assert getattr(getattr(livegrad, limits)(ours), what) == getattr(getattr(torch, limits)(theirs), what), what
    assert getattr(livegrad, limits)(ours) == getattr(livegrad, limits)(ours)


def test_shapes_of_operators_that_are_not_there():
    """Packages with compiled operators register shapes for those, whether or not they could be loaded."""

    @livegrad.library.register_fake("nobodys::operator")
    def shape(x):
        return x

    assert shape(3) == 3
    assert livegrad.library.register_fake("nobodys::operator", shape) is shape
    with pytest.raises(ValueError, match="namespace::name"):
        livegrad.library.register_fake("operator")(shape)
    with pytest.raises(AttributeError):
        livegrad.ops.nobodys.operator  # noqa: B018


def test_processes_are_available_and_no_group_is_formed_by_itself():
    assert livegrad.distributed.is_available()
    assert not livegrad.distributed.is_initialized()


def test_what_shards_tensors_is_names_only():
    """Libraries import these where processes are available, and ask whether something is one."""
    for module, names in (
        ("tensor", ["DTensor", "distribute_tensor"]),
        ("tensor._utils", ["compute_local_shape_and_global_offset"]),
        ("device_mesh", ["DeviceMesh", "init_device_mesh"]),
        ("fsdp", ["FullyShardedDataParallel", "MixedPrecisionPolicy", "fully_shard"]),
        ("fsdp.fully_sharded_data_parallel", ["StateDictType"]),
        ("_composable.fsdp", ["fully_shard"]),
        ("checkpoint.hf_storage", ["HuggingFaceStorageReader"]),
        ("algorithms.join", ["Join"]),
        ("optim", ["ZeroRedundancyOptimizer"]),
        ("_functional_collectives", ["all_to_all_single_autograd"]),
    ):
        found = importlib.import_module(f"livegrad.distributed.{module}")
        for name in names:
            thing = getattr(found, name)
            with pytest.raises(NotImplementedError, match=name):
                thing(livegrad.ones(1))
            assert not isinstance(thing, type) or not isinstance(livegrad.nn.Linear(1, 1), thing)
    from livegrad.distributed.tensor import Replicate, Shard
    from livegrad.distributed.tensor.placement_types import _StridedShard

    assert Shard(1) == Shard(1) != Shard(0) and Shard(1).is_shard(1) and not Replicate().is_shard()
    assert _StridedShard(0, split_factor=2).is_shard(0)
    assert importlib.import_module("livegrad.distributed.constants").default_pg_timeout.total_seconds() == 1800


def test_what_it_was_built_with():
    assert "USE_MKL=OFF" in livegrad.__config__.show()
    assert str(livegrad.get_num_threads()) in livegrad.__config__.parallel_info()


def test_a_future_is_set_once():
    later = Future()
    assert not later.done()
    with pytest.raises(RuntimeError, match="no value yet"):
        later.value()
    seen = []
    later.add_done_callback(lambda f: seen.append(f.value()))
    chain = later.then(lambda f: f.wait() + 1).then(lambda f: f.wait() * 10)
    later.set_result(1)
    assert later.done() and seen == [1] and chain.wait() == 20
    with pytest.raises(RuntimeError, match="completed Future"):
        later.set_result(2)
    assert later.then(lambda f: f.value() + 5).value() == 6


def test_errors_of_futures_come_out_where_they_are_waited_for():
    later = Future()
    following = later.then(lambda f: 1 // f.wait())
    later.set_result(0)
    with pytest.raises(ZeroDivisionError):
        following.wait()
    with pytest.raises(AssertionError):
        Future().set_exception("text")
    broken = Future()
    broken.set_exception(KeyError("k"))
    with pytest.raises(KeyError):
        wait_all([broken])


def test_all_of_several_futures():
    several = [Future() for _ in range(3)]
    whole = collect_all(several)
    threads = [threading.Thread(target=f.set_result, args=(i,)) for i, f in enumerate(several)]
    for thread in threads:
        thread.start()
    assert [f.value() for f in whole.wait()] == wait_all(several) == [0, 1, 2]
    for thread in threads:
        thread.join()
    assert wait_all([]) == []


def test_modules_that_were_compiled():
    from livegrad._dynamo.eval_frame import OptimizedModule

    module = livegrad.compile(livegrad.nn.Linear(2, 2))
    assert not isinstance(module, livegrad._dynamo.eval_frame.OptimizedModule)
    with pytest.raises(TypeError, match="compile"):
        OptimizedModule(module)
    livegrad._dynamo.mark_static_address(livegrad.ones(1))


def test_programs_do_not_capture_graphs_of_launches():
    for make in (livegrad.cuda.CUDAGraph, lambda: livegrad.cuda.graph(None)):
        with pytest.raises(RuntimeError, match="backends.cuda.graphs"):
            make()


def test_indices_that_are_tensors():
    from livegrad._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    table = livegrad.tensor([[1, 2], [3, 4]])
    with TransformGetItemToIndex():
        found = livegrad.vmap(lambda i: table[i, 1 - i])(livegrad.tensor([0, 1]))
    assert found.tolist() == [2, 3]
