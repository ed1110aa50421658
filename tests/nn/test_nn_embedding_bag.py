"""EmbeddingBag against PyTorch."""

import numpy as np
import pytest
from against_torch import identical, outcome, same, torch

import livegrad
from livegrad import nn

FLAT, OFFSETS, ROWS = [1, 2, 4, 5, 4, 3], [0, 2, 2, 5], [[1, 2, 4], [4, 3, 2]]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 4}, {"max_norm": 1.0}, {"include_last_offset": True}], ids=str)  # fmt: skip
@pytest.mark.parametrize("flat", [True, False])
def test_bags(mode, options, flat):
    found = []
    for m in (livegrad, torch):
        m.manual_seed(3)
        bag = m.nn.EmbeddingBag(6, 3, mode=mode, **options)
        offsets = OFFSETS + [6] if "include_last_offset" in options else OFFSETS
        y = bag(m.tensor(FLAT), m.tensor(offsets)) if flat else bag(m.tensor(ROWS))
        (y * m.linspace(-1, 2, y.numel()).reshape(y.shape)).sum().backward()
        found.append([y, bag.weight.grad, bag.weight])
    same(*found)


def test_weights_of_samples():
    found = []
    for m in (livegrad, torch):
        m.manual_seed(3)
        bag = m.nn.EmbeddingBag(6, 3, mode="sum")
        w = m.linspace(0.5, 2, 6).requires_grad_()
        y = bag(m.tensor(FLAT), m.tensor(OFFSETS), w)
        (y * y).sum().backward()
        found.append([y, w.grad, bag.weight.grad])
    same(*found)


def test_initial_values_and_repr():
    livegrad.manual_seed(1)
    mine = nn.EmbeddingBag(5, 2, padding_idx=-1, max_norm=2.0)
    torch.manual_seed(1)
    theirs = torch.nn.EmbeddingBag(5, 2, padding_idx=-1, max_norm=2.0)
    identical(mine.weight, theirs.weight)
    assert repr(mine) == repr(theirs)
    rows = np.ones((3, 2), np.float32)
    for m in (livegrad, torch):
        frozen = m.nn.EmbeddingBag.from_pretrained(m.tensor(rows))
        assert not frozen.weight.requires_grad
        assert frozen(m.tensor([[0, 1]])).tolist() == [[1.0, 1.0]]


ERRORS = [
    "F.embedding_bag(m.tensor([1]), m.ones(3, 2))", "F.embedding_bag(m.tensor([[1]]), m.ones(3, 2), mode='x')",
    "F.embedding_bag(m.tensor([[1]]), m.ones(3))", "F.embedding_bag(m.tensor(1), m.ones(3, 2), m.tensor([0]))",
    "F.embedding_bag(m.tensor([[1]]), m.ones(3, 2), per_sample_weights=m.ones(2))",
    "F.embedding_bag(m.tensor([[1]]), m.ones(3, 2), per_sample_weights=m.ones(1, 1))",
]  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text):
    mine = outcome(lambda: eval(text, {"m": livegrad, "F": nn.functional}))
    theirs = outcome(lambda: eval(text, {"m": torch, "F": torch.nn.functional}))
    assert mine[1][0] == theirs[1][0]
    assert mine[1][1][:60] == theirs[1][1][:60]


def test_choosing_a_way_of_attention():
    with nn.attention.sdpa_kernel([nn.attention.SDPBackend.MATH, nn.attention.SDPBackend.FLASH_ATTENTION]):
        x = livegrad.ones(1, 1, 2, 2)
        assert nn.functional.scaled_dot_product_attention(x, x, x).tolist() == x.tolist()
    with pytest.raises(AssertionError, match="SDPBackend"), nn.attention.sdpa_kernel("math"):
        pass


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_the_function_of_the_main_namespace(mode, last):
    found = []
    for m in (livegrad, torch):
        table = m.arange(12.0).reshape(6, 2).sin().requires_grad_()
        made = m.embedding_bag(
            table, m.tensor(FLAT), m.tensor(OFFSETS + [6] if last else OFFSETS), mode=mode, include_last_offset=last
        )
        made[0].square().sum().backward()
        found.append([*made, table.grad])
    same(*found)
    with pytest.raises(RuntimeError, match="mode is 0 for sum"):
        livegrad.embedding_bag(livegrad.ones(3, 2), livegrad.tensor([1]), livegrad.tensor([0]), mode=3)
