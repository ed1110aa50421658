"""Models that DistributedDataParallel cannot train; prints the errors."""

import json

from setting import begin

L, d, rank, size = begin()
nn = L.nn
errors = {}


class Model(nn.Module):
    def __init__(self, width, several=True):
        super().__init__()
        self.first = nn.Linear(2, width)
        if several:
            self.second = nn.Linear(2, 2)

    def forward(self, x):
        return self.first(x)


def attempt(name, action):
    try:
        action()
    except RuntimeError as error:
        errors[name] = str(error)


attempt("shapes", lambda: nn.parallel.DistributedDataParallel(Model(3 + rank)))
attempt("count", lambda: nn.parallel.DistributedDataParallel(Model(3, rank == 0)))


def unused():
    model = nn.parallel.DistributedDataParallel(Model(3))
    for _ in range(2):
        model(L.ones(1, 2)).sum().backward()


attempt("unused", unused)
print(json.dumps(errors))
