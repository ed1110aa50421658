"""Compressed sparse matrices, and functions of sparse tensors of all layouts, against PyTorch's."""

import warnings

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
NUMBERS = np.array([[1.0, 0, 2, 0], [0, 0, 0, 0], [0, 0, 3, 4], [0, 5, 0, 0]], np.float32)
LAYOUTS = ["csr", "csc", "bsr", "bsc"]


def sparse(m, layout, dtype="float32"):
    blocks = {"blocksize": (2, 2)} if layout.startswith("b") else {}
    return m.tensor(NUMBERS, dtype=getattr(m, dtype)).to_sparse(layout=getattr(m, f"sparse_{layout}"), **blocks)


def agree(code, **names):
    """What an expression makes prints the same, and has the same numbers to rounding."""
    texts, numbers = [], []
    for m in (livegrad, torch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = eval(code, {"m": m, **{k: f(m) for k, f in names.items()}})
        dense = made.to_dense() if hasattr(made, "to_dense") else made
        texts.append(repr(made.detach()) if hasattr(made, "detach") else made)
        numbers.append(dense.detach().numpy() if hasattr(dense, "detach") else None)
    assert texts[0] == texts[1]
    if numbers[0] is not None:
        np.testing.assert_allclose(*numbers, rtol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("code", [
    "a", "a.to_dense()", "a.values()", "(a.shape, a.size(0), a.dim(), a._nnz(), a.sparse_dim(), a.dense_dim())",
    "a.clone()", "a.to(m.float64)", "(a.is_sparse, a.is_sparse_csr, str(a.layout))", "a.transpose(0, 1)",
    "a.to_sparse_coo().coalesce()",
])  # fmt: skip
def test_what_there_is_in_one(code, layout, dtype):
    agree(code, a=lambda m: sparse(m, layout, dtype))


@pytest.mark.parametrize("code", [
    "a @ m.ones(4, 3)", "a @ m.arange(4.0)", "a.mm(m.ones(4, 1))", "a.mv(m.arange(4.0))", "m.mm(a, m.ones(4, 2))",
    "m.matmul(a, m.ones(4, 2))", "m.sparse.mm(a, m.ones(4, 2))", "m.mv(a, m.arange(4.0))", "m.ones(2, 4) @ a",
    "m.addmm(m.ones(4, 2), a, m.ones(4, 2), beta=0.5, alpha=2)", "a * 2", "a + a", "a * a", "a + m.ones(4, 4)",
    "a.sum()", "a.sin()", "m.relu(a)", "a.neg()", "a.abs()", "m.sqrt(a)", "a @ a.t().to_sparse_csr()",
    "m.sparse.sampled_addmm(a, m.ones(4, 2), m.ones(2, 4), beta=0.5)", "a.t()", "a.to_sparse_csc()", "a[2]",
    "a.crow_indices()", "a.col_indices()", "a.requires_grad_().requires_grad",
])  # fmt: skip
def test_functions_of_rows(code):
    agree(code, a=lambda m: sparse(m, "csr"))


@pytest.mark.parametrize("code", [
    "m.sparse.softmax(a, 1)", "m.sparse.softmax(a, 0)", "m.sparse.log_softmax(a, -1)", "m.sparse.sum(a, 0)",
    "m.sparse.sum(a, (1,))", "m.sparse.sum(a)", "m.sparse.sum(a, (0, 1))", "a * a", "a * m.ones(4, 4)", "a - a * 3",
    "m.sparse.addmm(m.ones(4, 2), a, m.ones(4, 2), beta=0.5, alpha=2)", "a.sqrt()", "a.pow(2)", "a[2]",
    "m.cat([a, a]).coalesce()", "m.cat([a, a], 1).coalesce()", "a.to_sparse_csr()", "a.to_sparse_csc()", "m.mm(a, m.ones(4, 1))",
    "m.sparse.mm(a, a)", "m.full((4, 4), 2.0).sparse_mask(a)", "a.to_sparse(layout=m.sparse_bsr, blocksize=(2, 4))",
    "m.sparse.spdiags(m.arange(9.0).reshape(3, 3), m.tensor([0, -1, 2]), (3, 4)).coalesce()",
    "m.sparse.spdiags(m.arange(6.0).reshape(2, 3), m.tensor([1, -3]), (5, 2)).to_dense()",
    "m.sparse.softmax(m.tensor([[0.0, 0], [1, 2], [3, 4]]).to_sparse(1), 0)",
    "m.sparse.softmax(m.tensor([[0.0, 0], [1, 2], [3, 4]]).to_sparse(1), 1)",
])  # fmt: skip
def test_functions_of_places_and_values(code):
    agree(code, a=lambda m: m.tensor(NUMBERS).to_sparse().coalesce())


@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize("code", [
    "x.clone().add_(a)", "x.clone().add_(a, alpha=-2)", "x + a", "m.add(x, a)", "m.add(x, a, alpha=3)",
    "x.add(a)", "x.clone().add_(a).add_(a, alpha=0.5)",
])  # fmt: skip
def test_added_to_dense_tensors(code, layout):
    agree(code, a=lambda m: sparse(m, layout), x=lambda m: m.arange(16.0).reshape(4, 4))


def test_a_parameter_changes_in_place_by_a_sparse_tensor():
    a = livegrad.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2))
    w = livegrad.ones(2, 2, requires_grad=True)
    with livegrad.no_grad():
        w -= a
        w.sub_(a, alpha=0.5).add_(a)
    assert w.tolist() == [[1.0, 0.5], [0.0, 1.0]] and (w - a).tolist() == [[1.0, -0.5], [-2.0, 1.0]]
    (w + a).sum().backward()
    assert w.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(("kind", "parts"), [
    ("csr", ([0, 2, 3], [0, 2, 1], [1.0, 2, 3])), ("csr", ([0, 2, 3], [0, 2, 1], [1.0, 2, 3], (2, 5))),
    ("csc", ([0, 2, 2, 3], [0, 1, 1], [1.0, 2, 3])), ("bsr", ([0, 1, 2], [0, 1], np.ones((2, 2, 3)).tolist())),
    ("bsc", ([0, 1, 2], [1, 0], np.ones((2, 1, 3)).tolist(), (2, 6))),
])  # fmt: skip
def test_made_from_parts(kind, parts):
    agree(f"m.sparse_{kind}_tensor(*parts)", parts=lambda m: parts)
    agree(f"m.sparse_compressed_tensor(*parts, layout=m.sparse_{kind}, dtype=m.float64)", parts=lambda m: parts)


@pytest.mark.parametrize("parts", [
    ([1, 2, 3], [0, 2, 1], [1.0, 2, 3]), ([0, 2, 4], [0, 2, 1], [1.0, 2, 3]), ([0, 2, 3], [0, 5, 1], [1.0, 2, 3]),
    ([0, 2, 3], [2, 0, 1], [1.0, 2, 3]), ([0, 3], [0, 2, 1], [1.0, 2, 3]), ([0, 2, 3], [0, 2, 1], [1.0, 2]),
])  # fmt: skip
def test_refused_as_pytorch_does(parts):
    texts = []
    for m in (livegrad, torch):
        with pytest.raises(RuntimeError) as error:
            m.sparse_csr_tensor(*parts, (2, 3), check_invariants=True)
        texts.append(str(error.value).split(" is not satisfied")[0])
    assert texts[0] == texts[1]


def test_refused_here():
    a = sparse(livegrad, "csr")
    with pytest.raises(RuntimeError, match="ccol_indices expected sparse column compressed tensor layout"):
        a.ccol_indices()
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied \(\[4, 4\] and \[3, 2\]\)"):
        a @ livegrad.ones(3, 2)
    with pytest.raises(TypeError, match="to_dense"):
        a.numpy()
    with pytest.raises(RuntimeError, match="blocksize"):
        livegrad.ones(3, 3).to_sparse_bsr((2, 2))
    with pytest.raises(RuntimeError, match="along the sparse dimension 1"):
        livegrad.cat([livegrad.ones(2, 2).to_sparse(), livegrad.ones(3, 2).to_sparse()], 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_of_products_go_to_values_and_the_dense_matrix(layout):
    made = sparse(livegrad, layout, "float64")
    values = made.values().detach().requires_grad_()
    dense = livegrad.arange(8.0, dtype=livegrad.float64).reshape(4, 2).requires_grad_()
    (made._with(values) @ dense).square().sum().backward()
    again = made._with(values.detach().clone().requires_grad_())
    other = dense.detach().clone().requires_grad_()
    (again.to_dense() @ other).square().sum().backward()
    assert values.grad.tolist() == again.values().grad.tolist() and dense.grad.tolist() == other.grad.tolist()


def test_softmax_has_gradients():
    values = livegrad.tensor([1.0, 2.0, 0.5], dtype=livegrad.float64, requires_grad=True)

    def made(v):
        return livegrad.sparse.softmax(livegrad.sparse_coo_tensor([[0, 0, 1], [0, 2, 1]], v, (2, 3)), 1)._values()

    assert livegrad.autograd.gradcheck(made, (values,))
