"""Ends in the middle of everything."""

import time

from setting import begin

L, d, rank, size = begin()
other = d.new_group([0, 1])
works = [d.all_reduce(L.ones(100000), async_op=True), d.all_reduce(L.ones(3), group=other, async_op=True)]
if rank == 0:
    works.append(d.isend(L.ones(5000000), 1))
    works.append(d.irecv(L.ones(3), 1))
else:
    time.sleep(1)
print("end", flush=True)
