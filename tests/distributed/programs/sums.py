"""Sums of random numbers, of lengths on both sides of each algorithm's bounds: near to float64, and the same bits
everywhere and each time.
"""

import hashlib

import numpy as np
from setting import begin

L, d, rank, size = begin()


def numbers(of, length):
    return np.random.default_rng([of, length]).normal(size=length).astype(np.float32)


for length in (1, 2, size + 1, 1000, 8192, 8193, 100003):
    everybody = np.stack([numbers(r, length) for r in range(size)])
    exact = everybody.astype(np.float64).sum(0)
    bound = np.abs(everybody.astype(np.float64)).sum(0) * size * 2.0**-24
    seen = set()
    for _ in range(3):
        x = L.tensor(everybody[rank])
        d.all_reduce(x)
        assert (np.abs(x.numpy() - exact) <= bound).all()
        seen.add(hashlib.sha256(x.numpy().tobytes()).hexdigest())
    everywhere = [None] * size
    d.all_gather_object(everywhere, seen)
    assert len(set().union(*everywhere)) == 1
    for root in (0, size - 1):
        x = L.tensor(everybody[rank])
        d.reduce(x, dst=root)
        assert rank == root or (x.numpy() == everybody[rank]).all()
        assert rank != root or (np.abs(x.numpy() - exact) <= bound).all()
        x = L.tensor(everybody[rank])
        d.broadcast(x, src=root)
        assert (x.numpy() == everybody[root]).all()
    x = L.zeros(length)
    pieces = [L.tensor(numbers(rank + 10 * r, length)) for r in range(size)]
    d.reduce_scatter(x, pieces)
    exact = sum(numbers(r + 10 * rank, length).astype(np.float64) for r in range(size))
    assert np.allclose(x.numpy(), exact, rtol=0, atol=size * 2.0**-20)
    into = [L.zeros(length) for _ in range(size)]
    d.all_to_all(into, pieces)
    assert all((into[r].numpy() == numbers(r + 10 * rank, length)).all() for r in range(size))
    works = [d.all_reduce(L.tensor(everybody[rank]), async_op=True) for _ in range(4)]
    assert all(hashlib.sha256(w.result()[0].numpy().tobytes()).hexdigest() in seen for w in works)
average = L.tensor(numbers(rank, 100))
d.all_reduce(average, op=d.ReduceOp.AVG)
assert np.allclose(average.numpy(), np.mean([numbers(r, 100) for r in range(size)], axis=0), atol=1e-6)
print("done")
d.destroy_process_group()
