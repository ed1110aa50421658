"""A program as users write it: that it passes a type checker is a test. It is not run."""

import livegrad
from livegrad import Tensor, nn
from livegrad.utils.data import DataLoader, TensorDataset


def f(x: Tensor, y: Tensor) -> Tensor:
    z = x + 2 * y - (x / y) ** 2 @ y
    z[0] = 1
    z += 1
    m: Tensor = z[1:].exp().mean()
    if (x > 0).all():
        print(-x, abs(x), ~x, x == y, len(x), 1 - x, 1 / x)
    for row in x:
        row.backward()
    g = x.grad
    if g is not None:
        g.zero_()
    return livegrad.exp(m) + nn.functional.relu(x).sum(0)


class M(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.l(x)


model = M()
opt = livegrad.optim.Adam(model.parameters(), lr=1e-3)
for x, y in DataLoader(TensorDataset(livegrad.ones(2, 2), livegrad.zeros(2)), batch_size=1):
    opt.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    opt.step()
with livegrad.no_grad():
    livegrad.save(model.state_dict(), "x")
