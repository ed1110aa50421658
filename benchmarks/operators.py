"""Times single operators on small tensors against PyTorch: `python benchmarks/operators.py [WORD ...] [--rounds N]`.

Each line of `OPERATORS` is an expression that is timed at each size: forward only, without recording and read back;
and, where the result has a gradient, forward and backward, with the first operand's gradient read back. Printed are the
ratios, the largest first. Each library runs in a process of its own, in turn, with livegrad's own functions compiled.
WORD: only expressions that contain one of these.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run import LIBRARIES, need_pytorch, show, threads

SIZES = (4, 32)  # rows and columns of the operands
SECONDS = 0.006  # that an expression runs each round
FLOATS = ("x", "y", "p", "q", "v", "w", "b", "img", "kernel", "taps", "seq", "triple")  # what may have gradients
LAYERS = ("lin", "mlp", "bn", "ln", "lstm", "gru", "mha", "conv", "emb")  # what has parameters

OPERATORS = """
x + y
x * 2
x - v
x / y
x ** 2
p ** 0.5
-x
x @ y
x @ v
F.linear(x, w, b)
m.matmul(x, w.t())
m.mm(x, y)
m.addmm(v, x, y)
m.bmm(seq, seq)
m.einsum("ij,jk->ik", x, y)
m.dot(v, b)
m.outer(v, b)
x.exp()
p.log()
p.sqrt()
p.rsqrt()
x.abs()
x.sin()
x.tanh()
x.sigmoid()
x.relu()
x.clamp(-1, 1)
x.clamp(min=0)
x.pow(3)
m.maximum(x, y)
m.where(mask, x, y)
x.masked_fill(mask, 0.0)
m.addcmul(x, x, y)
m.lerp(x, y, 0.3)
x.round()
x.sign()
x.floor()
x > 0
x == y
(x > 0).float()
i + 1
i.float()
x.double()
mask & mask
~mask
x.isnan()
m.isclose(x, y)
x.sum()
x.sum(1)
x.sum(0)
x.sum(-1, keepdim=True)
x.mean()
x.mean(0)
x.var()
x.var(1)
x.std()
x.std(0)
x.norm()
x.norm(dim=1)
x.prod()
x.max()
x.min()
x.max(1)[0]
x.max(1).indices
x.min(0)[0]
x.amax(1)
x.argmax()
x.argmax(1)
x.argmin(0)
mask.any()
mask.all()
mask.sum()
x.logsumexp(1)
x.cumsum(0)
x.cumsum(1)
x.cumprod(1)
x.median()
x.sort()[0]
x.sort(1, descending=True)[1]
x.argsort(1)
x.topk(3)[0]
x.topk(3, dim=0)[1]
x.kthvalue(2)[0]
m.unique(i)
m.bincount(rows)
mask.nonzero()
x.softmax(1)
x.log_softmax(1)
F.softmax(x, dim=-1)
F.relu(x)
F.gelu(x)
F.silu(x)
F.elu(x)
F.leaky_relu(x, 0.1)
F.softplus(x)
F.sigmoid(x)
F.tanh(x)
F.hardtanh(x)
F.selu(x)
F.normalize(x, dim=1)
F.cosine_similarity(x, y)
F.layer_norm(x, (n,))
F.layer_norm(x, (n,), v, b)
F.batch_norm(x, None, None, v, b, True)
F.mse_loss(x, y)
F.l1_loss(x, y)
F.smooth_l1_loss(x, y)
F.cross_entropy(x, rows)
F.nll_loss(x, rows)
F.binary_cross_entropy(q, half)
F.binary_cross_entropy_with_logits(x, half)
F.kl_div(x, half)
F.dropout(x, 0.5)
F.embedding(rows, x)
F.one_hot(rows, n)
F.pad(x, (1, 1))
F.conv2d(img, kernel)
F.conv1d(seq, taps)
F.max_pool2d(img, 2)
F.avg_pool2d(img, 2)
F.interpolate(img, scale_factor=2)
m.cat([x, y])
m.cat([x, y], dim=1)
m.stack([x, y])
m.stack([x, y], 1)
x.chunk(2)[1].contiguous()
x.split(2)[1].contiguous()
x[0]
x[0, 1]
x[:, 1:3]
x[:, 0]
x[rows]
x[:, rows]
x[rows, rows]
x[mask]
x[None]
x[..., 0]
x.gather(1, i)
x.scatter(1, i, y)
x.scatter_add(1, i, y)
x.index_select(0, rows)
m.masked_select(x, mask)
m.take(x, i)
x.index_add(0, rows, y)
x.view(-1)
x.reshape(-1, 2)
x.t()
x.t().contiguous()
x.transpose(0, 1) + y
x.permute(1, 0).reshape(-1)
x.unsqueeze(0)
x.squeeze()
x.expand(2, n, n)
x.repeat(2, 2)
x.flatten()
x.flip(0)
x.roll(1, 0)
x.tril()
x.diag()
x.diagonal()
x.trace()
x.clone()
x.detach()
x.contiguous()
x.repeat_interleave(2, 0)
m.meshgrid(v, b, indexing="ij")[0]
m.cdist(x, y)
m.cross(triple, triple)
m.zeros(n, n)
m.ones(n)
m.full((n, n), 3.0)
m.eye(n)
m.arange(n)
m.linspace(0, 1, n)
m.zeros_like(x)
m.ones_like(x)
m.empty(n, n)
m.tensor([1.0, 2.0, 3.0])
m.tensor(numbers)
m.from_numpy(array)
m.as_tensor(array)
m.rand(n, n)
m.randn(n, n)
m.randn(n)
m.randint(0, 10, (n,))
m.randperm(n)
m.rand_like(x)
m.randn_like(x)
m.bernoulli(q)
m.multinomial(q, 2)
m.normal(0.0, 1.0, (n, n))
m.empty(n, n).normal_()
m.empty(n, n).uniform_(-1, 1)
m.empty(n, n).normal_(0, 0.02)
m.empty(n, n).bernoulli_(0.5)
m.empty(n, n).fill_(2.0)
m.empty(n, n).zero_()
m.empty(n, n).copy_(z)
z.add_(0.0)
z.mul_(1.0)
z.clamp_(-9, 9)
set_row()
set_mask()
set_element()
m.linalg.inv(pd)
m.linalg.solve(pd, v)
m.linalg.cholesky(pd)
m.linalg.det(pd)
m.linalg.norm(x)
m.linalg.svd(x)[1]
m.linalg.eigh(pd)[0]
m.fft.fft(v).real
m.fft.rfft(v).real
m.fft.fft2(x).real
m.complex(x, y).abs()
m.searchsorted(ordered, v)
m.bucketize(v, ordered)
m.histc(x, 8)
m.allclose(x, x)
m.equal(x, y)
x.sum().item()
lin(x)
mlp(x)
bn(x)
ln(x)
lstm(seq)[0]
gru(seq)[0]
mha(seq, seq, seq)[0]
conv(img)
emb(rows)
F.scaled_dot_product_attention(seq, seq, seq)
F.multi_margin_loss(x, rows)
F.huber_loss(x, y)
F.logsigmoid(x)
F.glu(x)
F.group_norm(seq, 2)
vmap_sum(x)
grad_sum(x)
"""


def namespace(m: Any, n: int, leaves: bool) -> dict:
    """The names that expressions use: the library, and operands of n rows and columns."""
    import numpy as np

    r = np.random.default_rng(0)
    nn = m.nn

    def tensor(a: Any) -> Any:
        return m.tensor(a.tolist())

    def leaf(a: Any) -> Any:
        t = tensor(a)
        return t.requires_grad_() if leaves else t

    square = r.standard_normal((n, n))
    names = {
        "m": m,
        "F": nn.functional,
        "n": n,
        "x": leaf(square),
        "y": leaf(r.standard_normal((n, n))),
        "p": leaf(r.random((n, n)) + 0.5),
        "q": leaf(r.random((n, n)) * 0.8 + 0.1),
        "v": leaf(r.standard_normal(n)),
        "b": leaf(r.standard_normal(n)),
        "w": leaf(r.standard_normal((n, n))),
        "img": leaf(r.standard_normal((1, 2, n, n))),
        "kernel": leaf(r.standard_normal((2, 2, 3, 3))),
        "seq": leaf(r.standard_normal((2, n, n))) if n < 16 else leaf(r.standard_normal((2, 8, 8))),
        "triple": leaf(r.standard_normal((n, 3))),
        "taps": leaf(r.standard_normal((2, min(n, 8), 3))),
        "half": tensor(r.random((n, n)) * 0.5 + 0.2),
        "z": tensor(square),
        "pd": tensor(square @ square.T + 9 * np.eye(n)),
        "mask": tensor(square) > 0,
        "i": tensor(r.integers(0, n, (n, n))),
        "rows": tensor(r.integers(0, n, n)),
        "ordered": tensor(np.sort(r.standard_normal(n))),
        "numbers": r.standard_normal(n).tolist(),
        "array": square.astype(np.float32),
    }
    width = names["seq"].shape[-1]
    m.manual_seed(0)
    names["lin"] = nn.Linear(n, n)
    names["mlp"] = nn.Sequential(nn.Linear(n, n), nn.Tanh(), nn.Linear(n, 1))
    names["bn"], names["ln"] = nn.BatchNorm1d(n), nn.LayerNorm(n)
    names["lstm"] = nn.LSTM(width, width, batch_first=True)
    names["gru"] = nn.GRU(width, width, batch_first=True)
    names["mha"] = nn.MultiheadAttention(width, 2, batch_first=True)
    names["conv"], names["emb"] = nn.Conv2d(2, 4, 3), nn.Embedding(n, n)
    z, mask = tensor(square), names["mask"]

    def set_row() -> Any:
        z[1] = 0.5
        return z

    def set_mask() -> Any:
        z[mask] = 0.5
        return z

    def set_element() -> Any:
        z[1, 2] = 0.5
        return z

    names.update(set_row=set_row, set_mask=set_mask, set_element=set_element)
    names["grad_sum"] = m.func.grad(lambda t: (t * t).sum())
    names["vmap_sum"] = m.func.vmap(lambda t: (t * t).sum())
    return names


def step_of(m: Any, expression: str, n: int, backward: bool) -> Callable | None:
    """What is timed: the expression, read; or forward and backward, and the gradient of its first leaf read.

    None for a gradient of what has none.
    """
    names = namespace(m, n, backward)
    function = eval("lambda: " + expression, names)
    if not backward:

        def forward() -> Any:
            made = function()
            return made.numpy() if hasattr(made, "numpy") else made

        return forward
    made = function()
    if not getattr(made, "requires_grad", False):
        return None
    used = [names[f] for f in FLOATS if re.search(rf"\b{f}\b", expression)]
    for layer in LAYERS:
        if re.search(rf"\b{layer}\(", expression):
            used += list(names[layer].parameters())
    weight = m.ones_like(made).detach()

    def step() -> Any:
        for t in used:
            t.grad = None
        function().backward(weight)
        return used[0].grad.numpy()

    return step


def worker(library: str) -> None:
    """Read the cases from the first line of standard input, then the number of one a line; answer with its times."""
    sys.path[:0] = [str(Path(__file__).parent.parent)]
    import importlib
    import warnings

    warnings.simplefilter("ignore")
    m = importlib.import_module(library)
    if library == "torch":
        m.set_num_threads(threads())
    steps: list = []
    for case in json.loads(sys.stdin.readline()):
        expression, n, backward = case
        try:
            with m.set_grad_enabled(backward):
                step = step_of(m, expression, n, backward)
                if step is not None:
                    repeated(step, 5)  # what is seen again is compiled in the background
        except Exception as error:
            step = None
            print(f"{library}: {case}: {error!r}"[:200], file=sys.stderr)
        steps.append((step, backward))
    time.sleep(1)
    for step, backward in steps:
        if step is not None:
            with m.set_grad_enabled(backward):
                repeated(step, 20)
    print("ready", flush=True)
    for line in sys.stdin:
        step, backward = steps[int(line)]
        with m.set_grad_enabled(backward):
            print(json.dumps([] if step is None else samples(step)), flush=True)


def repeated(step: Callable, times: int) -> None:
    for _ in range(times):
        step()


def samples(step: Callable) -> list[float]:
    found, repeat = [], 4
    until = time.perf_counter() + SECONDS
    while True:
        started = time.perf_counter()
        for _ in range(repeat):
            step()
        now = time.perf_counter()
        found.append((now - started) / repeat)
        if now > until:
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    need_pytorch()
    lines = [e for e in OPERATORS.strip().splitlines() if not options.words or any(w in e for w in options.words)]
    cases = [(e, n, backward) for e in lines for n in SIZES for backward in (False, True)]
    environment = {**os.environ, "LIVEGRAD_NATIVE": os.environ.get("LIVEGRAD_NATIVE", "always")}
    processes = {
        library: subprocess.Popen(
            [sys.executable, __file__, "--worker", library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
        for library in LIBRARIES
    }  # fmt: skip
    for p in processes.values():
        p.stdin.write(json.dumps(cases) + "\n")
        p.stdin.flush()
    for library, p in processes.items():
        if p.stdout.readline().strip() != "ready":
            sys.exit(f"the {library} process stopped before it was ready")
    times: dict = {(c, library): [] for c in cases for library in LIBRARIES}
    for turn in range(options.rounds):
        for k, c in enumerate(cases):
            for library in LIBRARIES if turn % 2 else LIBRARIES[::-1]:
                p = processes[library]
                p.stdin.write(f"{k}\n")
                p.stdin.flush()
                answer = p.stdout.readline()
                if not answer:
                    sys.exit(f"the {library} process stopped in {c}")
                times[c, library] += json.loads(answer)
    for p in processes.values():
        p.stdin.close()
        p.wait()
    table = []
    for c in cases:
        found = [library for library in LIBRARIES if times[c, library]]
        if len(found) == 1:
            print(f"only {found[0]} has {c}", file=sys.stderr)
        if times[c, "livegrad"] and times[c, "torch"]:
            ours, theirs = (statistics.median(times[c, library]) for library in LIBRARIES)
            table.append((ours / theirs, ours, theirs, c))
    table.sort(key=lambda row: -row[0])
    print("| ratio | livegrad | PyTorch | rows | operator |\n|---:|---:|---:|---:|---|")
    for ratio, ours, theirs, (e, n, backward) in table:
        print(f"| {ratio:.2f} | {show(ours)} | {show(theirs)} | {n} | `{e}`{' and backward' if backward else ''} |")
    for backward in (False, True):
        ratios = [row[0] for row in table if row[3][2] is backward]
        if ratios:
            above = sum(r > 1 for r in ratios)
            what = "forward and backward" if backward else "forward"
            print(f"\n{what}: geometric mean {statistics.geometric_mean(ratios):.2f}, {above} of {len(ratios)} above 1")


if __name__ == "__main__":
    main()
