"""A group of one process against PyTorch's."""

import pytest

import livegrad
import livegrad.distributed

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("PyTorch without distributed", allow_module_level=True)


@pytest.fixture(params=["livegrad", "torch"])
def m(request, tmp_path):
    """Either library, in a group of one."""
    module = {"livegrad": livegrad, "torch": torch}[request.param]
    module.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield module
    if module.distributed.is_initialized():
        module.distributed.destroy_process_group()


def test_questions(m):
    d = m.distributed
    assert d.is_initialized()
    assert (d.get_rank(), d.get_world_size(), d.get_backend()) == (0, 1, "gloo")
    assert d.get_world_size(d.new_group([0])) == 1
    assert d.get_rank(d.group.WORLD) == 0
    with pytest.raises(ValueError, match="twice"):
        d.init_process_group("gloo", rank=0, world_size=1)
    d.destroy_process_group()
    assert not d.is_initialized()
    for ask in (d.get_rank, d.get_world_size, d.barrier, lambda: d.all_reduce(m.ones(1))):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            ask()


def test_collectives(m):
    d = m.distributed
    x = m.tensor([1.0, 2.0])
    for op in (d.ReduceOp.SUM, d.ReduceOp.MAX, d.ReduceOp.MIN, d.ReduceOp.PRODUCT):
        assert d.all_reduce(x, op=op) is None
    d.broadcast(x, src=0)
    d.reduce(x, dst=0)
    assert x.tolist() == [1.0, 2.0]
    assert d.all_reduce(x, async_op=True).wait()
    into = [m.zeros(2)]
    d.all_gather(into, x)
    assert into[0].tolist() == [1.0, 2.0]
    flat = m.zeros(2)
    d.all_gather_into_tensor(flat, x)
    assert flat.tolist() == [1.0, 2.0]
    into = [m.zeros(2)]
    d.gather(x, into, dst=0)
    assert into[0].tolist() == [1.0, 2.0]
    target = m.zeros(2)
    d.scatter(target, [x + 1], src=0)
    assert target.tolist() == [2.0, 3.0]
    objects = [None]
    d.all_gather_object(objects, {"a": 1})
    d.broadcast_object_list(objects, src=0)
    assert objects == [{"a": 1}]
    assert d.barrier() is None


def test_training(m):
    m.manual_seed(0)
    model = m.nn.parallel.DistributedDataParallel(m.nn.Linear(3, 2))
    assert sorted(model.state_dict()) == ["module.bias", "module.weight"]
    with model.no_sync():
        model(m.ones(1, 3)).sum().backward()
    model(m.ones(1, 3)).sum().backward()
    assert model.module.weight.grad.tolist() == [[2.0] * 3] * 2
    sampler = m.utils.data.distributed.DistributedSampler(range(4), shuffle=False)
    assert list(sampler) == [0, 1, 2, 3]


def test_what_is_wrong_raises(m):
    with pytest.raises((TypeError, ValueError)):
        m.distributed.all_reduce([1.0])
    with pytest.raises(RuntimeError, match="not needed"):
        m.nn.parallel.DistributedDataParallel(m.nn.ReLU())


def test_the_environment_names_the_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "0")
    with pytest.raises(ValueError, match="environment variable RANK expected"):
        livegrad.distributed.init_process_group("nccl")
    monkeypatch.setenv("RANK", "0")
    livegrad.distributed.init_process_group("nccl")
    assert livegrad.distributed.get_backend() == "nccl"
    livegrad.distributed.destroy_process_group()
