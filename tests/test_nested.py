"""Nested tensors against PyTorch's."""

import copy
import importlib
import pickle
import re

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")
BOTH = (livegrad, torch)
ROWS = [np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32) for n in (3, 1, 2)]


def nested(m):
    return importlib.import_module(f"{m.__name__}.nested")


def made(m, **options):
    return nested(m).nested_tensor([m.from_numpy(r.copy()) for r in ROWS], layout=m.jagged, **options)


def rounded(x):
    return np.round(x.numpy().astype(np.float64), 4).tolist()


def shown(x):
    """What is compared: values, and where they are; sizes that differ have numbers, which do not count."""
    if isinstance(x, (tuple, list)) and not isinstance(x, (livegrad.Size, torch.Size)):
        return [shown(y) for y in x]
    if getattr(x, "is_nested", False):
        return (
            re.sub(r"j\d+", "j", str(tuple(x.shape))),
            x.offsets().tolist(),
            rounded(x.detach().values().contiguous()),
        )
    if isinstance(x, (livegrad.Tensor, torch.Tensor)):
        return list(x.shape), rounded(x.detach())
    return re.sub(r"j\d+", "j", re.sub(r" object at \w+", "", str(x)))


PROGRAMS = {
    "elements": lambda m, t: [t * 2 + 1, 1 / t, t**2, -t, t.exp(), t.abs().sqrt(), m.nn.functional.relu(t), t > 0, t.clamp(min=0.0),
                              m.where(t > 0, t, t * 0), m.sin(t) + t.cos(), t.sigmoid() * t, m.maximum(t, t * 2), t == t],
    "broadcasting": lambda m, t: [t + m.arange(4.0), t * m.ones(1), t + m.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)],
    "kinds": lambda m, t: [t.to(m.float64), t.double().dtype, t.clone(), t.detach(), m.zeros_like(t), t.dtype, t.device, t.layout, t.is_nested],
    "shape": lambda m, t: [t.shape, t.size(), t.size(0), t.size(-1), t.dim(), t.ndim, t.numel(), len(t), t.is_contiguous(),
                           t.offsets(), t.values(), t.lengths()],
    "text": lambda m, t: [repr(t), str(t * 2)],
    "parts": lambda m, t: [list(t.unbind()), t[0], t[-1], t[1], list(t)],
    "reductions": lambda m, t: [t.sum(), t.mean(), t.max(), t.sum(-1), t.mean(-1), t.sum(1), t.mean(1), t.max(1), t.amax(-1), t.sum(-1, keepdim=True)],
    "softmax": lambda m, t: [t.softmax(-1), m.nn.functional.log_softmax(t, dim=-1)],
    "layers": lambda m, t: [m.nn.functional.linear(t, m.ones(2, 4), m.ones(2)), m.nn.functional.layer_norm(t, (4,)), t @ m.ones(4, 2),
                            m.nn.functional.dropout(t, 0.0), m.nn.functional.gelu(t)],
    "padding": lambda m, t: [t.to_padded_tensor(0.0), nested(m).to_padded_tensor(t, -1.0), t.to_padded_tensor(0.0, output_size=(3, 5, 4))],
    "shapes": lambda m, t: [t.unflatten(-1, [2, 2]), t.unflatten(-1, [2, 2]).transpose(1, 2).shape, t.unflatten(-1, [2, 2]).flatten(-2, -1),
                            t.unsqueeze(-1), t.unsqueeze(-1).squeeze(-1), t.view(3, -1, 2, 2), t.reshape(3, -1, 4), t.transpose(1, 2).shape],
    "pieces": lambda m, t: [[p.contiguous() for p in t.chunk(2, -1)], [p.contiguous() for p in t.split([1, 3], -1)], m.cat([t, t * 2], -1)],
    "narrow": lambda m, t: [nested(m).narrow(m.arange(12.0).view(3, 4), 1, m.tensor([0, 1, 2]), m.tensor([2, 3, 1]), layout=m.jagged).contiguous().to_padded_tensor(0.0),
                            nested(m).masked_select(m.ones(2, 3), m.tensor([[True, False, True], [True, False, False]]))],
    "jagged": lambda m, t: [nested(m).nested_tensor_from_jagged(m.ones(5, 2), m.tensor([0, 2, 5])),
                            nested(m).nested_tensor_from_jagged(m.ones(5, 2), lengths=m.tensor([1, 4])),
                            nested(m).nested_tensor([m.ones(2, 3), m.ones(2, 1)], layout=m.jagged)],
    "numbers": lambda m, t: [nested(m).nested_tensor([[1.0, 2.0], [3.0]], layout=m.jagged), nested(m).nested_tensor([[1], [2, 3]], layout=m.jagged)],
    "strided": lambda m, t: [str(nested(m).nested_tensor([m.ones(2, 2), m.zeros(1, 2)])),
                             nested(m).nested_tensor([m.ones(2, 2), m.zeros(1, 2)]).to_padded_tensor(5.0),
                             list((nested(m).nested_tensor([m.ones(2, 2), m.zeros(1, 2)]) * 2).unbind())],
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    mine, theirs = (shown(PROGRAMS[name](m, made(m))) for m in BOTH)
    assert mine == theirs


def test_gradients():
    results = []
    for m in BOTH:
        m.manual_seed(0)
        leaf = [m.from_numpy(r.copy()).requires_grad_() for r in ROWS]
        layer = m.nn.Linear(4, 4)
        t = nested(m).as_nested_tensor(leaf, layout=m.jagged)
        assert t.requires_grad and not t.is_leaf
        heads = layer(t).unflatten(-1, [2, 2]).transpose(1, 2)
        out = m.nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(-2)
        (m.nn.LayerNorm(4)(out) * t).to_padded_tensor(0.0).pow(2).sum().backward()
        own = made(m, requires_grad=True)
        (own * own).sum().backward()
        results.append([*(x.grad for x in leaf), layer.weight.grad, own.grad.values(), own.is_leaf])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5) if isinstance(a, bool) else np.testing.assert_allclose(
            a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4
        )


def test_embeddings():
    results = []
    for m in BOTH:
        m.manual_seed(1)
        words = nested(m).nested_tensor([m.tensor([1, 2, 4]), m.tensor([3])], layout=m.jagged)
        results.append(shown(m.nn.Embedding(5, 3)(words)))
    assert results[0] == results[1]


def test_what_is_refused():
    for m in BOTH:
        t, n = made(m), nested(m)
        with pytest.raises(
            RuntimeError, match="cannot call binary pointwise function add.Tensor with inputs of shapes"
        ):
            t + made(m)
        with pytest.raises(RuntimeError, match="must have the same dim"):
            n.nested_tensor([m.ones(2, 3), m.ones(2)], layout=m.jagged)
        with pytest.raises(RuntimeError, match="from a list of zero-dim tensors"):
            n.nested_tensor([m.tensor(1.0)], layout=m.jagged)
        with pytest.raises(TypeError, match="Expected first argument to be a tensor or a list / tuple of tensors"):
            n.as_nested_tensor(3)
        with pytest.raises(RuntimeError, match="At least one of offsets or lengths is required"):
            n.nested_tensor_from_jagged(m.ones(2))
        with pytest.raises(RuntimeError, match="not supported for tensor subclasses"):
            t.numpy()
        with pytest.raises(NotImplementedError):
            t.nonzero()
        with pytest.raises(RuntimeError):
            n.nested_tensor([m.ones(1), m.ones(2)]).shape  # noqa: B018


def test_copies():
    t = made(livegrad, requires_grad=True)
    for twin in (copy.deepcopy(t), pickle.loads(pickle.dumps(t))):
        assert twin.offsets().tolist() == t.offsets().tolist() and twin.requires_grad
        assert twin.values().tolist() == t.values().tolist()
    assert livegrad.tensor([[1.0]]).is_nested is False


def test_products_of_batches():
    square = livegrad.matmul(made(livegrad).transpose(1, 2), made(livegrad))
    assert tuple(square.shape) == (3, 4, 4)
    np.testing.assert_allclose(square[0].numpy(), ROWS[0].T @ ROWS[0], rtol=1e-5)
