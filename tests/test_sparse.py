"""Sparse tensors against PyTorch's."""

import numpy as np
import pytest

import livegrad

PLACES = [[0, 1, 1, 0], [2, 0, 2, 2]]
NUMBERS = [3.0, 4.0, 5.0, 6.0]


def both():
    return livegrad, pytest.importorskip("torch")


def test_what_there_is_in_one():
    for lib in both():
        a = lib.sparse_coo_tensor(PLACES, NUMBERS, (2, 3))
        assert (tuple(a.shape), a.size(1), a.dim(), a.sparse_dim(), a.dense_dim(), a._nnz()) == ((2, 3), 3, 2, 2, 0, 4)
        assert a.is_sparse and not a.is_coalesced() and a.dtype is lib.float32 and str(a.layout) == "torch.sparse_coo"
        assert a.to_dense().tolist() == [[0, 0, 9], [4, 0, 5]]
        with pytest.raises(RuntimeError, match="Cannot get indices on an uncoalesced tensor"):
            a.indices()
        c = a.coalesce()
        assert c.indices().tolist() == [[0, 1, 1], [2, 0, 2]] and c.values().tolist() == [9, 4, 5] and c.is_coalesced()
        assert a.t().to_dense().tolist() == [[0, 4], [0, 0], [9, 5]] and (a * 2).to_dense().sum().item() == 36
        assert (a + a).to_dense().tolist() == [[0, 0, 18], [8, 0, 10]] and lib.sparse.sum(a).item() == 18
        assert tuple(lib.sparse_coo_tensor(PLACES, NUMBERS).shape) == (2, 3)
        rows = lib.sparse_coo_tensor([[1, 1]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
        assert rows.to_dense().tolist() == [[0, 0], [4, 6], [0, 0]] and rows.dense_dim() == 1
        assert rows.coalesce().values().tolist() == [[4, 6]]
        assert a.double().dtype is lib.float64 and a.to_dense().to_sparse().values().tolist() == [9, 4, 5]


@pytest.mark.filterwarnings("ignore")
def test_products_and_their_gradients_are_pytorchs():
    numbers = np.random.default_rng(0)
    places = np.stack([numbers.integers(0, 6, 20), numbers.integers(0, 5, 20)])
    results = []
    for lib in both():
        values = lib.tensor(np.linspace(-1, 1, 20), requires_grad=True)
        dense = lib.tensor(np.linspace(0, 1, 15).reshape(5, 3), requires_grad=True)
        a = lib.sparse_coo_tensor(lib.tensor(places), values, (6, 5))
        made = lib.sparse.mm(a, dense)
        (made**2).sum().backward()
        plain = lib.sparse.FloatTensor(lib.tensor(places), values.detach().float(), lib.Size((6, 5)))
        again = lib.spmm(plain, dense.detach().float())
        vector = a.detach() @ lib.ones(5, dtype=lib.float64)
        results.append([t.detach().numpy() for t in (made, values.grad, dense.grad, again, vector)])
    for mine, its in zip(*results, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-12)


def test_to_sparse_and_back_has_gradients():
    x = livegrad.tensor([[0.0, 2.0], [3.0, 0.0]], requires_grad=True)
    (x.to_sparse().to_dense() * livegrad.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0], [3.0, 0.0]]
    assert x.to_sparse(1).values().tolist() == [[0.0, 2.0], [3.0, 0.0]]
    y = livegrad.ones(2, 2)
    assert y.to_dense() is y and (y @ x.detach().to_sparse()).tolist() == [[3.0, 2.0], [3.0, 2.0]]


def test_errors_are_pytorchs():
    for lib in both():
        with pytest.raises(RuntimeError, match="for dim 1, size is 2 but found index 2"):
            lib.sparse_coo_tensor(PLACES, NUMBERS, (2, 2), check_invariants=True)
        with pytest.raises(RuntimeError, match="found negative index -1"):
            lib.sparse_coo_tensor([[0], [-1]], [1.0], (2, 2), check_invariants=True)
        with pytest.raises(RuntimeError, match=r"sparse_dim \+ dense_dim"):
            lib.sparse_coo_tensor(PLACES, NUMBERS, (2, 3, 1), check_invariants=False)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        livegrad.sparse_coo_tensor(PLACES, NUMBERS, (2, 3)) @ livegrad.ones(2, 2)


def test_printing_names_the_parts():
    text = repr(livegrad.sparse_coo_tensor([[0], [1]], [2.0], (1, 2)))
    assert "size=(1, 2), nnz=1, layout=torch.sparse_coo" in text and "values=tensor([2.])" in text


@pytest.mark.filterwarnings("ignore")
def test_printing_is_pytorchs():
    ours, theirs = (
        [
            repr(each)
            for each in (
                lib.sparse_coo_tensor(PLACES, NUMBERS, (2, 3)),
                lib.sparse_coo_tensor(PLACES, NUMBERS, (2, 3), requires_grad=True),
                lib.sparse_coo_tensor(PLACES, NUMBERS, (2, 3), requires_grad=True) * 2,
                lib.sparse_coo_tensor(PLACES, NUMBERS, (2, 3), dtype=lib.float64),
                lib.sparse_coo_tensor(PLACES, [1, 2, 3, 4], (2, 3)),
                lib.sparse_coo_tensor(PLACES, [1, 2, 3, 4], (2, 3), dtype=lib.int32),
                lib.sparse_coo_tensor(PLACES, [1j, 2, 3, 4], (2, 3)),
                lib.sparse_coo_tensor(PLACES[:1], [[1.0, 2.5]] * 4, (2, 2)),
                lib.sparse_coo_tensor([list(range(30))], [1.0] * 30),
                lib.sparse_coo_tensor(lib.zeros(2, 0).long(), lib.zeros(0, 4), (2, 3, 4)),
            )
        ]
        for lib in both()
    )
    assert ours == theirs
