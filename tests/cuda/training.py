"""Five training programs that every kind of kernel has a part in, for any device."""

import copy

import livegrad
from livegrad import nn


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(64, 4),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x.reshape(-1, 1, 8, 8))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 4)
        self.gates = nn.Linear(8, 48)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 12)
        for t in range(3):  # the cell written out: elementwise work
            i, f, g, o = self.gates(x.reshape(-1, 8, 8)[:, t]).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(self.lstm(x.reshape(-1, 8, 8))[0][:, -1] + h)


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.position = nn.Linear(8, 16), nn.Parameter(livegrad.zeros(8, 16))
        self.block = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, activation="gelu", batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.block(self.embed(x.reshape(-1, 8, 8)) + self.position).mean(1))


def xor():
    return nn.Sequential(nn.Linear(64, 4), nn.Tanh(), nn.Linear(4, 4), nn.Sigmoid())


def mlp():
    return nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 4))


STEPS = {
    "XOR": (xor, lambda p: livegrad.optim.SGD(p, lr=0.1, momentum=0.9), nn.MSELoss()),
    "MLP": (mlp, lambda p: livegrad.optim.AdamW(p, lr=0.1), nn.CrossEntropyLoss()),
    "CNN": (Cnn, lambda p: livegrad.optim.Adam(p, lr=0.1, amsgrad=True), nn.CrossEntropyLoss(label_smoothing=0.1)),
    "LSTM": (Lstm, lambda p: livegrad.optim.RMSprop(p, lr=0.1), nn.HuberLoss()),
    "GPT": (Gpt, lambda p: livegrad.optim.NAdam(p, lr=0.1), nn.CrossEntropyLoss()),
}


def train(name, device, half, steps):
    """The losses of some training steps, and the model. half: with bfloat16 where autocast allows it."""
    make, optimizer, loss = STEPS[name]
    livegrad.manual_seed(0)
    model = copy.deepcopy(make()).to(device)
    x, y = livegrad.randn(16, 64).to(device), livegrad.rand(16, 4).to(device)
    update = optimizer(model.parameters())
    losses = []
    for _ in range(steps):
        update.zero_grad()
        with livegrad.autocast(device, livegrad.bfloat16, enabled=half):
            found = loss(model(x), y)
        found.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        update.step()
        losses.append(found.item())
    return losses, model
