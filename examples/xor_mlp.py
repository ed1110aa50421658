"""A small network learns exclusive or. With a folder as argument, it writes its graph and its loss for TensorBoard."""

import sys

import livegrad
from livegrad import nn
from livegrad.utils.data import DataLoader, TensorDataset

livegrad.manual_seed(42)
bits = livegrad.randint(0, 2, (1024, 2)).float()
labels = (bits[:, 0] != bits[:, 1]).long()
points = bits + 0.1 * livegrad.randn(1024, 2)
loader = DataLoader(TensorDataset(points, labels), batch_size=128, shuffle=True)

model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = livegrad.optim.Adam(model.parameters(), lr=0.05)

writer = None
if len(sys.argv) > 1:
    from livegrad.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(sys.argv[1])
    writer.add_graph(model, points[:1])

for epoch in range(20):
    total = livegrad.zeros(())
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    if writer:
        writer.add_scalar("loss", total / len(loader), epoch)
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2d}: loss {total.item() / len(loader):.4f}")
if writer:
    writer.close()

with livegrad.no_grad():
    accuracy = (model(points).argmax(1) == labels).float().mean()
print(f"accuracy {100 * accuracy.item():.1f} %")
