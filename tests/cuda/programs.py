"""Programs that are trained on the CPU and on a GPU, to see that the losses are the same."""

from __future__ import annotations

import livegrad
from livegrad import nn

F = nn.functional


def digits(device):
    """Pictures of 8 by 8 and their classes: bright where their class says, with noise."""
    classes = livegrad.arange(256, device=device) % 10
    places = livegrad.arange(64, device=device)
    bright = ((places.unsqueeze(0) * (classes.unsqueeze(1) + 3)) % 11 < 4).float()
    return bright + 0.3 * livegrad.randn(256, 64, device=device), classes


class MLP(nn.Module):
    data = staticmethod(digits)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.LayerNorm(96), nn.Dropout(0.2), nn.Linear(96, 10))

    def forward(self, x, y):
        return F.cross_entropy(self.layers(x), y)


class CNN(nn.Module):
    data = staticmethod(digits)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.GELU("tanh"), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10),
        )  # fmt: skip

    def forward(self, x, y):
        return F.cross_entropy(self.layers(x.reshape(-1, 1, 8, 8)), y)


class GPT(nn.Module):
    """Two layers over a text that repeats."""

    @staticmethod
    def data(device):
        text = (livegrad.arange(8 * 33, device=device) * 7 // 3) % 29
        text = text.reshape(8, 33)
        return text[:, :-1].contiguous(), text[:, 1:].contiguous()

    def __init__(self, width=32, heads=4):
        super().__init__()
        self.token, self.place = nn.Embedding(29, width), nn.Embedding(32, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 29, bias=False)

    def forward(self, x, y):
        h = self.token(x) + self.place(livegrad.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            h = block(h)
        return F.cross_entropy(self.head(self.norm(h)).reshape(-1, 29), y.reshape(-1))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h):
        n, t, width = h.shape
        q, k, v = (
            part.reshape(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norms[0](h)).split(width, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + F.dropout(self.out(mixed.transpose(1, 2).reshape(n, t, width)), 0.1, self.training)
        return h + self.narrow(F.gelu(self.wide(self.norms[1](h)), approximate="tanh"))


PROGRAMS = {"mlp": MLP, "cnn": CNN, "gpt": GPT}


def train(name, device, steps=20, dtype=None):
    """The losses of so many steps; random numbers are the same on every device."""
    kind = PROGRAMS[name]
    with livegrad.random.portable():
        livegrad.manual_seed(0)
        model = kind().to(device)
        x, y = kind.data(device)
        optimizer = livegrad.optim.AdamW(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            with livegrad.autocast(livegrad.device(device).type, dtype=dtype, enabled=dtype is not None):
                loss = model(x, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return livegrad.stack(losses).tolist()
