"""What layers and models do over all processes: batch normalisation, and when gradients are sent."""

import warnings

from setting import begin

L, d, rank, size = begin()
nn = L.nn
for dtype, bound in ((L.float64, 1e-10), (L.float32, 1e-4)):
    L.manual_seed(3)
    whole = (L.randn(3 * size + 2, 4, 5) * 3 + 1).to(dtype)
    goal = L.randn(3 * size + 2, 4, 5).to(dtype)
    cut = slice(3 * rank, 3 * rank + 3) if rank < size - 1 else slice(3 * rank, None)  # the last one has more
    one = nn.Sequential(nn.BatchNorm1d(4), nn.Conv1d(4, 4, 1)).to(dtype)
    several = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(4), nn.Conv1d(4, 4, 1)).to(dtype))
    several.load_state_dict(one.state_dict())
    a, b = whole.clone().requires_grad_(), whole[cut].clone().requires_grad_()
    for _ in range(2):
        full, part = one(a), several(b)
        assert L.allclose(full[cut], part, rtol=bound, atol=bound)
        (full * goal).sum().backward()
        (part * goal[cut]).sum().backward()
    assert L.allclose(a.grad[cut], b.grad, rtol=bound, atol=bound)
    for name, value in one.state_dict().items():
        assert L.allclose(value, several.state_dict()[name], rtol=bound, atol=bound), name
    for p, q in zip(one.parameters(), several.parameters()):
        total = q.grad.clone()
        d.all_reduce(total)
        assert L.allclose(p.grad, total, rtol=bound, atol=bound * 100)
    one.eval(), several.eval()
    assert L.allclose(one(whole), several(whole), rtol=bound, atol=bound)

# A bucket is on its way before the pass is over: when the gradient of an early layer is made.
model = nn.Sequential(*[nn.Linear(400, 400) for _ in range(6)])
wrapped = nn.parallel.DistributedDataParallel(model, bucket_cap_mb=0.5)
assert len(wrapped.reducer.buckets) >= 3
begun = []
x = L.randn(8, 400)
middle = model[0](x)
middle.register_hook(lambda g: begun.append(sum(b.work is not None for b in wrapped.reducer.buckets)))
wrapped.reducer.prepare(None)
rest = middle
for layer in model[1:]:
    rest = layer(rest)
rest.sum().backward()
assert begun[0] >= 2, begun
# Work that nobody waits for is done by the next operation that somebody does; a received tensor as well.
x, y = L.ones(3), L.zeros(2)
d.all_reduce(x, async_op=True)
if rank == 0:
    d.isend(L.full((2,), 7.0), 1)
else:
    d.irecv(y, 0).wait()
d.barrier()
assert x.tolist() == [size] * 3 and (rank == 0 or y.tolist() == [7.0, 7.0])


class Data(L.utils.data.Dataset):
    """Asks in a worker which process this is, and does not disturb its parent."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        try:
            d.barrier()
        except RuntimeError as error:
            assert "forked" in str(error)
        return 10 * d.get_rank() + i


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
    loader = L.utils.data.DataLoader(Data(), batch_size=2, num_workers=1, multiprocessing_context="fork")
    assert [b.tolist() for b in loader] == [[10 * rank, 10 * rank + 1], [10 * rank + 2, 10 * rank + 3]]
x = L.ones(2)
d.all_reduce(x)
assert x.tolist() == [2.0, 2.0]
print("done")
d.destroy_process_group()
