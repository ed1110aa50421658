"""The first process waits for a message that never comes, the second for the first."""

from setting import begin

L, d, rank, size = begin()
print("ready", flush=True)
try:
    if rank == 0:
        d.broadcast(L.zeros(3), src=1)
    else:
        d.recv(L.zeros(3), src=0)
except RuntimeError as error:
    print(f"{type(error).__name__}: {error}", flush=True)
