"""MultiheadAttention and the transformer's modules, against PyTorch."""

import numpy as np
import pytest
from against_torch import identical, outcome, same, torch

import livegrad
from livegrad import nn

rng = np.random.default_rng(3)


def both(make, run, training=True):
    """Results, gradients of inputs and of parameters of a module of both libraries."""
    found = []
    for m in (livegrad, torch):
        m.manual_seed(2)
        module = make(m)
        module.train(training)
        m.manual_seed(3)
        made, inputs = run(m, module)
        outs = [t for t in (made if isinstance(made, tuple) else (made,)) if t is not None]
        sum((t * t).sum() for t in outs).backward()
        found.append((outs, [t.grad for t in inputs], [p.grad for p in module.parameters()]))
    same(*found, rtol=1e-4, atol=1e-4)


def tensors(m, *shapes):
    local = np.random.default_rng(5)
    return [m.tensor(local.standard_normal(s).astype(np.float32)).requires_grad_() for s in shapes]


OPTIONS = [
    {}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"add_bias_kv": True, "add_zero_attn": True},
    {"dropout": 0.3}, {"kdim": 6, "vdim": 7}, {"batch_first": True}, {"kdim": 6, "vdim": 7, "batch_first": True},
]  # fmt: skip
CALLS = {
    "weights": lambda m: {},
    "each head": lambda m: {"average_attn_weights": False},
    "without weights": lambda m: {"need_weights": False},
    "padding": lambda m: {"key_padding_mask": m.tensor([[False] * 4 + [True], [False] * 5])},
    "padding without weights": lambda m: {
        "key_padding_mask": m.tensor([[False] * 4 + [True], [False] * 5]), "need_weights": False,
    },
    "mask": lambda m: {"attn_mask": m.ones(3, 5, dtype=m.bool).triu(2)},
    "numbers, without weights": lambda m: {"attn_mask": m.linspace(-1, 1, 15).reshape(3, 5), "need_weights": False},
    "mask by head": lambda m: {"attn_mask": m.linspace(-1, 1, 120).reshape(8, 3, 5)},
    "causal": lambda m: {"attn_mask": m.ones(3, 5, dtype=m.bool).triu(1), "is_causal": True, "need_weights": False},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_multihead(options, call):
    if call == "causal" and ("add_bias_kv" in options or "add_zero_attn" in options):
        pytest.skip("PyTorch ignores the added keys' place in a causal hint")

    def run(m, module):
        shapes = [(3, 2, 8), (5, 2, options.get("kdim", 8)), (5, 2, options.get("vdim", 8))]
        if options.get("batch_first"):
            shapes = [(b, n, e) for n, b, e in shapes]
        q, k, v = tensors(m, *shapes)
        return module(q, k, v, **CALLS[call](m)), (q, k, v)

    both(lambda m: m.nn.MultiheadAttention(8, 4, **options), run)


def test_multihead_of_one_tensor():
    def run(m, module):
        (x,) = tensors(m, (5, 2, 8))
        return module(x, x, x), (x,)

    both(lambda m: m.nn.MultiheadAttention(8, 2), run)

    def two(m, module):
        q, k = tensors(m, (3, 8), (5, 8))
        return module(q, k, k, key_padding_mask=m.tensor([False] * 4 + [True])), (q, k)

    both(lambda m: m.nn.MultiheadAttention(8, 2), two)


LAYERS = [
    {}, {"norm_first": True}, {"activation": "gelu"}, {"bias": False}, {"dropout": 0.0, "batch_first": True},
]  # fmt: skip


@pytest.mark.parametrize("options", LAYERS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_layers(options, training):
    def encode(m, module):
        (x,) = tensors(m, (2, 5, 8) if options.get("batch_first") else (5, 2, 8))
        mask = m.nn.Transformer.generate_square_subsequent_mask(5)
        padding = m.tensor([[False] * 4 + [True], [False] * 5])
        return (module(x, mask), module(x, src_key_padding_mask=padding), module(x, mask, is_causal=True)), (x,)

    both(lambda m: m.nn.TransformerEncoderLayer(8, 2, 16, **options), encode, training)

    def decode(m, module):
        first = options.get("batch_first")
        x, memory = tensors(m, (2, 4, 8) if first else (4, 2, 8), (2, 5, 8) if first else (5, 2, 8))
        return module(x, memory, m.nn.Transformer.generate_square_subsequent_mask(4)), (x, memory)

    both(lambda m: m.nn.TransformerDecoderLayer(8, 2, 16, **options), decode, training)


@pytest.mark.parametrize("batch_first", [False, True])
def test_transformer(batch_first):
    def run(m, module):
        shapes = [(5, 2, 8), (4, 2, 8)]
        src, tgt = tensors(m, *[(b, n, e) for n, b, e in shapes] if batch_first else shapes)
        mask = module.generate_square_subsequent_mask(4)
        padding = m.tensor([[False] * 4 + [True], [False] * 5])
        made = module(src, tgt, tgt_mask=mask, src_key_padding_mask=padding, memory_key_padding_mask=padding)
        return made, (src, tgt)

    both(lambda m: m.nn.Transformer(8, 2, 2, 2, 16, 0.2, batch_first=batch_first), run)


@pytest.mark.parametrize(
    "text",
    ["Transformer(8, 2, 1, 1, 16)", "MultiheadAttention(8, 2, kdim=3, add_bias_kv=True)",
     "TransformerEncoder(TransformerEncoderLayer(8, 2, 16), 2, LayerNorm(8))",
     "TransformerDecoder(TransformerDecoderLayer(8, 2, 16, norm_first=True), 2)"],
)  # fmt: skip
def test_initial_values_names_and_repr(text):
    livegrad.manual_seed(4)
    mine = eval(text, {**vars(nn)})
    torch.manual_seed(4)
    theirs = eval(text, {**vars(torch.nn)})
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        identical(a, b)


ERRORS = [
    "nn.MultiheadAttention(0, 2)", "nn.MultiheadAttention(5, 2)",
    "nn.MultiheadAttention(4, 2)(m.ones(2), m.ones(2), m.ones(2))",
    "nn.MultiheadAttention(4, 2)(m.ones(2, 3, 5), m.ones(2, 3, 5), m.ones(2, 3, 5))",
    "nn.MultiheadAttention(4, 2)(*[m.ones(2, 3, 4)] * 3, is_causal=True)",
    "nn.MultiheadAttention(4, 2)(*[m.ones(2, 3, 4)] * 3, attn_mask=m.ones(3, 3))",
    "nn.TransformerEncoderLayer(4, 2, activation='x')",
    "nn.Transformer(4, 2, 1, 1, 8)(m.ones(2, 3, 4), m.ones(2, 2, 4))",
    "nn.Transformer(4, 2, 1, 1, 8)(m.ones(2, 3, 5), m.ones(2, 3, 4))",
]  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
@pytest.mark.filterwarnings("ignore")
def test_errors(text):
    mine = outcome(lambda: eval(text, {"m": livegrad, "nn": nn}))
    theirs = outcome(lambda: eval(text, {"m": torch, "nn": torch.nn}))
    assert mine[1] == theirs[1]
