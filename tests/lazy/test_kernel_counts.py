"""The kernels of a training step are few, and neither steps, sizes, scalars nor depths make more of them.

A kernel's key is the structure of what it computes (docs/evaluation.md). Five programs are run in processes of their
own: some steps of small and of large sizes (sizes choose between ways to compute, each with its kernels) make all the
kernels there will be; steps of sizes between them, other learning rates and other depths must make none.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

COMMON = """
import gc
import livegrad as lg
from livegrad import nn
from livegrad.codegen.kernels import Kernel, wait_for_compiler
from livegrad.nn import functional as F

lg.manual_seed(0)


def kernels():
    return sum(isinstance(o, Kernel) for o in gc.get_objects())


def pick(i, small, large):
    return (small, large)[i % 2] if i < WARM else small + (large - small) * (i - WARM) // 12


WARM = 6


def train(model, optimizer, loss_of):
    loss = loss_of(model)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
"""

# Each defines model, optimizer, batch(i) -> function of the model that gives step i's loss. pick(i, small, large) is the
# size of that step.
MODELS = {
    "mlp": """
        model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = lg.optim.Adam(model.parameters(), lr=1e-3)

        def batch(i):
            n = pick(i, 8, 64)
            x, y = lg.randn(n, 20), lg.randint(0, 10, (n,))
            return lambda m: F.cross_entropy(m(x), y)
    """,
    "cnn": """
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25), nn.Flatten(), nn.Linear(16 * 16, 10), nn.LogSoftmax(1),
        )
        optimizer = lg.optim.Adadelta(model.parameters())

        def batch(i):
            n = pick(i, 4, 32)
            x, y = lg.randn(n, 1, 12, 12), lg.randint(0, 10, (n,))
            return lambda m: F.nll_loss(m(x), y)
    """,
    "lstm": """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.words, self.lstm, self.head = nn.Embedding(50, 16), nn.LSTM(16, 32), nn.Linear(32, 5)

            def forward(self, x):
                return self.head(self.lstm(self.words(x))[0])

        model = Tagger()
        optimizer = lg.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9)

        def batch(i):
            t, n = pick(i, 3, 20), pick(i, 2, 32)
            x, y = lg.randint(0, 50, (t, n)), lg.randint(0, 5, (t * n,))
            return lambda m: F.cross_entropy(m(x).view(t * n, 5), y)
    """,
    "gpt": """
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.before, self.after = nn.LayerNorm(32), nn.LayerNorm(32)
                self.attend, self.join = nn.Linear(32, 96), nn.Linear(32, 32)
                self.widen, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)

            def forward(self, x):
                b, t, _ = x.shape
                q, k, v = (z.view(b, t, 4, 8).transpose(1, 2) for z in self.attend(self.before(x)).split(32, dim=2))
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = x + self.join(y.transpose(1, 2).contiguous().view(b, t, 32))
                return x + self.narrow(F.gelu(self.widen(self.after(x))))

        model = nn.ModuleDict({
            "letters": nn.Embedding(65, 32), "places": nn.Embedding(64, 32),
            "blocks": nn.Sequential(Block(), Block()), "norm": nn.LayerNorm(32), "head": nn.Linear(32, 65),
        })
        optimizer = lg.optim.AdamW(model.parameters(), lr=1e-3)

        def batch(i):
            n, t = pick(i, 2, 12), pick(i, 8, 40)
            x, y = lg.randint(0, 65, (n, t)), lg.randint(0, 65, (n * t,))

            def loss_of(m):
                h = m["blocks"](m["letters"](x) + m["places"](lg.arange(t)))
                return F.cross_entropy(m["head"](m["norm"](h)).view(n * t, 65), y)

            return loss_of
    """,
    "dynamic depth": """
        model = nn.ModuleList([*(nn.Linear(16, 16) for _ in range(9)), nn.Linear(16, 1)])
        optimizer = lg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def batch(i):
            depth = pick(i, 2, 4) if i < WARM else 2 + 5 * i % 8
            x, y = lg.randn(24, 16), lg.randn(24, 1)

            def loss_of(m):
                h = x
                for layer in m[:depth]:
                    h = layer(h).tanh()
                return F.mse_loss(m[-1](h), y)

            return loss_of
    """,
}
# At most so many kernels; the numbers of the day plus a few, so that a step that falls into pieces is noticed.
MOST = {"mlp": 16, "cnn": 32, "lstm": 28, "gpt": 44, "dynamic depth": 14}


@pytest.mark.parametrize("name", MODELS)
def test_kernels_of_training_steps(name):
    program = (
        COMMON
        + textwrap.dedent(MODELS[name])
        + textwrap.dedent("""
        for i in range(WARM):
            train(model, optimizer, batch(i))
            wait_for_compiler()  # what stands in for a kernel until it is there is another way to compute
        before = kernels()
        for i in range(WARM, WARM + 12):
            optimizer.param_groups[0]["lr"] *= 0.9
            train(model, optimizer, batch(i))
        print(before, kernels())
    """)
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after == before, f"steps of other sizes, rates or depths made {after - before} kernels"
    assert 0 < before <= MOST[name]
