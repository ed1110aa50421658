"""Every collective operation once, on small and large tensors of several dtypes; prints what came out, as JSON."""

import importlib
import json
import sys
import warnings

from setting import begin

L, d, rank, size = begin()
results = {}


def note(name, *tensors):
    values = [t.to(L.complex128) if t.is_complex() else t.to(L.float64) for t in tensors]
    results[name] = [
        [L.view_as_real(v).tolist() if v.is_complex() else v.tolist(), str(t.dtype)] for v, t in zip(values, tensors)
    ]


def made(dtype, shape, salt=0):
    """Whole numbers that differ by rank: their sums are exact in every dtype."""
    count = 1
    for n in shape:
        count *= n
    numbers = (L.arange(count) * 7 + rank * 3 + salt) % 5
    return (numbers % 2 if dtype is L.bool else numbers).to(dtype).reshape(shape)


OPS = ["SUM", "PRODUCT", "MIN", "MAX"]
for dtype in (L.float32, L.float64, L.float16, L.bfloat16, L.int64, L.int32, L.int8, L.uint8, L.bool, L.complex64):
    bits = [] if dtype.is_floating_point or dtype.is_complex else ["BAND", "BOR", "BXOR"]
    average = ["AVG"] if dtype.is_floating_point or dtype.is_complex else []
    for op in ["SUM", "AVG"] if dtype.is_complex else OPS + bits + average:
        for shape in ((3,), (2, 5), ()):
            x = made(dtype, shape)
            d.all_reduce(x, op=getattr(d.ReduceOp, op))
            note(f"all_reduce {dtype} {op} {shape}", x)
    x = made(dtype, (4, 3))
    d.broadcast(x, src=size - 1)
    note(f"broadcast {dtype}", x)
    into = [L.zeros(2, 3).to(dtype) for _ in range(size)]
    d.all_gather(into, made(dtype, (2, 3)))
    note(f"all_gather {dtype}", *into)

big = made(L.float32, (40000,))
d.all_reduce(big)
note("all_reduce large", big[:50], big.sum())
d.broadcast(big, src=0)
large = [L.zeros(30000) for _ in range(size)]
d.all_gather(large, made(L.float32, (30000,)))
note("all_gather large", *[t[::1000] for t in large])

x = made(L.float32, (2, 3))
d.reduce(x, dst=1 % size)
note("reduce", x if rank == 1 % size else x * 0)

whole = L.zeros(2 * size, 3)
d.all_gather_into_tensor(whole, made(L.float32, (2, 3)))
note("all_gather_into_tensor", whole)

lists = [L.zeros(2) for _ in range(size)] if rank == 0 else None
d.gather(made(L.float32, (2,)), lists, dst=0)
note("gather", *(lists or []))
x = L.zeros(2)
d.scatter(x, [L.full((2,), 10.0 * i) for i in range(size)] if rank == 0 else None, src=0)
note("scatter", x)

x = L.zeros(2)
d.reduce_scatter(x, [made(L.float32, (2,), salt=i) for i in range(size)])
note("reduce_scatter", x)
x = L.zeros(3)
d.reduce_scatter_tensor(x, made(L.float32, (3 * size,)))
note("reduce_scatter_tensor", x)

if sys.argv[1] == "livegrad" or hasattr(d, "all_to_all_single"):
    x = L.zeros(2 * size)
    d.all_to_all_single(x, made(L.float32, (2 * size,)))
    note("all_to_all_single", x)
    sent, come = [rank + i + 1 for i in range(size)], [rank + i + 1 for i in range(size)]
    x = L.zeros(sum(come), 2)
    d.all_to_all_single(x, made(L.float32, (sum(sent), 2)), come, sent)
    note("all_to_all_single uneven", x)

# Views and layouts: what is seen through the base, and of a part the rest stays.
base = made(L.float32, (4, 6))
d.all_reduce(base.t())
note("transposed", base)
base = made(L.float32, (4, 6))
part = base[1:3, ::2].contiguous()
d.all_reduce(part)
base[1:3, ::2] = part
note("part", base)
row = made(L.float32, (3, 4))
d.broadcast(row[1], src=0)
note("row", row)

works = [d.all_reduce(made(L.float32, (n,)), async_op=True) for n in (3, 50000, 7)]
for work in works:
    assert work.wait() is not False
assert all(w.is_completed() for w in works)
note("async", *[w.result()[0].reshape(-1)[:5] for w in works])
future = d.all_reduce(made(L.float32, (3,)), async_op=True).get_future()
note("future", future.wait()[0])

# From one to another.
if size > 1:
    after, before = (rank + 1) % size, (rank - 1) % size
    x = L.zeros(3)
    if rank % 2 == 0:
        d.send(made(L.float32, (3,)), after)
        d.recv(x, before)
    else:
        d.recv(x, before)
        d.send(made(L.float32, (3,)), after)
    note("send", x)
    a, b = L.zeros(2), L.zeros(2)
    works = [d.isend(L.full((2,), 1.0 + rank), after, tag=1), d.isend(L.full((2,), 5.0 + rank), after, tag=2)]
    works += [d.irecv(b, before, tag=2), d.irecv(a, before, tag=1)]
    for work in works:
        work.wait()
    note("tags", a, b)
    x = L.zeros(100000)
    for work in d.batch_isend_irecv([d.P2POp(d.isend, made(L.float32, (100000,)), after), d.P2POp(d.irecv, x, before)]):
        work.wait()
    note("batch", x[:20], x.sum())
    d.barrier()
    if rank == 0:
        x, found = L.zeros(2), []
        for _ in range(size - 1):
            source = d.recv(x)
            found.append([source, x.tolist()])
        results["anyone"] = sorted(found)
    else:
        d.send(L.full((2,), float(rank)), 0)

everything = [None] * size
d.all_gather_object(everything, {"rank": rank, "text": "x" * rank})
results["all_gather_object"] = everything
several = [rank, "text", [1.5]] if rank == size - 1 else [None] * 3
d.broadcast_object_list(several, src=size - 1)
results["broadcast_object_list"] = several
collected = [None] * size if rank == 0 else None
d.gather_object((rank, rank * 2), collected, dst=0)
results["gather_object"] = collected and [list(c) for c in collected]
out = [None]
d.scatter_object_list(out, [[i, "s"] for i in range(size)] if rank == 0 else None, src=0)
results["scatter_object_list"] = out

# Parts of the world.
even = d.new_group(list(range(0, size, 2)))
x = made(L.float32, (3,))
if rank % 2 == 0:
    d.all_reduce(x, group=even)
    results["ranks"] = [d.get_rank(even), d.get_world_size(even), d.get_process_group_ranks(even)]
else:
    results["ranks"] = [d.get_rank(even), d.get_world_size(even)]
note("even", x)
last = d.new_group([size - 1, 0] if size > 1 else [0])
x = made(L.float32, (2,))
if rank in (0, size - 1):
    d.broadcast(x, src=size - 1, group=last)
note("last", x)

functional = importlib.import_module(f"{sys.argv[1]}.distributed.nn.functional")
warnings.simplefilter("ignore", FutureWarning)


# Operations that gradients go through: results, and gradients of sums that weigh elements differently everywhere.
def leaf(*shape):
    count = 1
    for n in shape:
        count *= n
    return ((L.arange(count) * 7 + rank * 3) % 5).double().reshape(shape).requires_grad_()


def through(name, x, y):
    """The result, and the gradient of a sum that weighs all elements, in all processes, differently."""
    ys = y if isinstance(y, (tuple, list)) else [y]
    total = sum((t * (L.arange(t.numel()).reshape(t.shape) + 1.0 + rank + i)).sum() for i, t in enumerate(ys))
    total.backward()
    grads = [t.grad.tolist() for t in (x if isinstance(x, list) else [x])]
    results[name] = [[t.tolist() for t in ys], grads]


x = leaf(3)
through("functional all_reduce", x, functional.all_reduce(x * 2))
x = leaf(3)
through("functional broadcast", x, functional.broadcast(x * 2, 1))
x = leaf(2, 2)
through("functional all_gather", x, functional.all_gather(x * 2))
xs = [leaf(3) for _ in range(size)]
through("functional reduce_scatter", xs, functional.reduce_scatter(L.empty(3).double(), [x * 2 for x in xs]))
xs = [leaf(2) for _ in range(size)]
through(
    "functional all_to_all", xs, functional.all_to_all([L.empty(2).double() for _ in range(size)], [x * 2 for x in xs])
)
x = leaf(size, 2)
through("functional all_to_all_single", x, functional.all_to_all_single(L.empty(size, 2).double(), x * 2))
x = leaf(2)
y = functional.reduce(x * 2, 0)
through("functional reduce", x, y if rank == 0 else y * 0 + 1.0)
results["functional reduce"][0] = None if rank else results["functional reduce"][0]

d.barrier()
d.monitored_barrier()
print(json.dumps(results))
d.destroy_process_group()
assert not d.is_initialized()
