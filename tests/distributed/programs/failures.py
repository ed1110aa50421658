"""What goes wrong between processes, one case after the other, each in a group of its own; prints the errors."""

import json
import os
import sys
import time
from datetime import timedelta

import livegrad as L
import livegrad.distributed as d

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
found = {}


def case(seconds=20):
    """Runs a function with a group of its own, and notes the error and how long it took."""

    def decorate(function):
        name = function.__name__
        d.init_process_group("gloo", init_method=f"file://{sys.argv[2]}-{name}", rank=rank, world_size=size)
        group = d.new_group(timeout=timedelta(seconds=seconds))
        d.barrier()
        began = time.monotonic()
        try:
            function(group)
            found[name] = ["", 0.0]
        except RuntimeError as error:
            found[name] = [f"{type(error).__name__}: {error}", time.monotonic() - began]
        d.destroy_process_group()

    return decorate


@case()
def shapes(group):
    d.all_reduce(L.ones(2, 3 + rank), group=group)


@case()
def operations(group):
    if rank == 0:
        d.broadcast(L.ones(3), src=0, group=group)
        time.sleep(0.5)  # the others have said by now that they cannot go on
        d.broadcast(L.ones(3), src=0, group=group)
    else:
        d.all_reduce(L.ones(3), group=group)


@case()
def dtypes(group):
    work = d.all_reduce(L.ones(3, dtype=L.float64 if rank else L.float32), group=group, async_op=True)
    work.wait()


@case(0.5)
def late(group):
    if rank == 1:
        time.sleep(1.5)
    d.all_reduce(L.ones(3), group=group)


@case(0.5)
def silent(group):
    if rank == 0:
        d.recv(L.zeros(2), src=1, group=group)
    else:
        time.sleep(1.0)


@case()
def message(group):
    if rank == 0:
        d.send(L.ones(3), 1, group=group)
    elif rank == 1:
        d.recv(L.ones(4), 0, group=group)


@case()
def missing(group):
    if rank == 1:
        time.sleep(1.0)
    else:
        d.monitored_barrier(group, timeout=timedelta(seconds=0.3))


d.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=size)
d.barrier()
if rank == 1:
    print(json.dumps(found), flush=True)
    os._exit(0)  # without a word
try:
    d.all_reduce(L.ones(100000))
except RuntimeError as error:
    found["dead"] = [str(error), 0.0]
print(json.dumps(found))
