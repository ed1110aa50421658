"""Training with DistributedDataParallel, each process with a part of the batch; prints losses, gradients and the models.

Arguments: the names of cases.
"""

import json
import sys

from setting import begin

L, d, rank, size = begin()
nn = L.nn
CASES = {
    "plain": {},
    "small buckets": {"bucket_cap_mb": 0.005},
    "unused": {"find_unused_parameters": True},
    "static": {"static_graph": True},
    "unused later": {"find_unused_parameters": True},
}


class Model(nn.Module):
    def __init__(self, unused):
        super().__init__()
        self.first = nn.Linear(6, 40)
        self.middle = nn.Linear(40, 40)
        if unused:
            self.unused = nn.Linear(40, 40)
        self.last = nn.Linear(40, 3)
        self.register_buffer("steps", L.zeros(()) + rank)

    def forward(self, x, skip=False):
        x = L.tanh(self.first(x))
        if not skip:
            x = L.tanh(self.middle(x))
        return {"out": [self.last(x)]}


def train(case):
    options, unused, later = CASES[case], case.startswith("unused"), case == "unused later"
    L.manual_seed(0)
    model = Model(unused).double()
    if rank:  # the first process's values are everybody's
        with L.no_grad():
            for p in model.parameters():
                p.add_(1.0)
    whole_x = L.randn(12, 6, generator=L.Generator().manual_seed(1), dtype=L.float64)
    whole_y = L.randn(12, 3, generator=L.Generator().manual_seed(2), dtype=L.float64)
    per = 12 // size
    x, y = whole_x[rank * per : (rank + 1) * per], whole_y[rank * per : (rank + 1) * per]
    wrapped = nn.parallel.DistributedDataParallel(model, **options)
    optimizer = L.optim.Adam(wrapped.parameters(), lr=0.01)
    losses = []
    for step in range(6):
        optimizer.zero_grad()
        if step == 4 and "static_graph" not in options:  # gradients of two passes, sent once
            with wrapped.no_sync():
                ((wrapped(x * 0.5)["out"][0] - y) ** 2).mean().backward()
        skip = unused and (step == 2 or (step == 3 and rank == 0))
        if later and step == 3:  # gradients that this pass adds nothing to, in one process
            ((wrapped(x * 0.25)["out"][0] - y) ** 2).mean().backward()
        if later and step == 2:  # and in none: those of one process count all the same
            with wrapped.no_sync():
                ((wrapped(x * 0.25, skip=rank == 0)["out"][0] - y) ** 2).mean().backward()
        loss = ((wrapped(x, skip=skip)["out"][0] - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    state = {name: value.tolist() for name, value in wrapped.state_dict().items()}
    grads = {name: None if p.grad is None else p.grad.tolist() for name, p in wrapped.named_parameters()}
    return {"losses": losses, "state": state, "grads": grads}


print(json.dumps({case: train(case) for case in sys.argv[3:]}))
d.destroy_process_group()
