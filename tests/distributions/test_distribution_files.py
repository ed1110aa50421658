"""PyTorch's files of distributions, and what distributions are written with."""

import doctest
import importlib

import pytest

import livegrad
from livegrad.distributions import utils as ours


def test_classes_are_found_where_pytorch_has_them():
    torch = pytest.importorskip("torch")
    for name in livegrad.distributions.__all__:
        theirs = getattr(torch.distributions, name, None)
        if isinstance(theirs, type) and theirs.__module__ != "torch.distributions.transforms":
            module = importlib.import_module(theirs.__module__.replace("torch", "livegrad"))
            assert getattr(module, name) is getattr(livegrad.distributions, name), name
            parts = theirs.__module__.split(".")
            assert getattr(livegrad.distributions, parts[-1]) is module


@pytest.mark.parametrize("binary", [False, True])
def test_logits_and_probabilities(binary):
    torch = pytest.importorskip("torch")
    probs = [[0.0, 0.25, 1.0], [0.1, 0.2, 0.7]]
    for mine, theirs in (
        (ours.probs_to_logits, torch.distributions.utils.probs_to_logits),
        (ours.logits_to_probs, torch.distributions.utils.logits_to_probs),
    ):
        found, expected = mine(livegrad.tensor(probs), binary), theirs(torch.tensor(probs), binary)
        livegrad.testing.assert_close(found, livegrad.from_numpy(expected.numpy()))


@pytest.mark.parametrize("diag", [0, -1])
def test_triangles_as_vectors(diag):
    torch = pytest.importorskip("torch")
    numbers = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]]
    found = ours.vec_to_tril_matrix(livegrad.tensor(numbers), diag)
    assert found.tolist() == torch.distributions.utils.vec_to_tril_matrix(torch.tensor(numbers), diag).tolist()
    assert ours.tril_matrix_to_vec(found, diag).tolist() == numbers
    with pytest.raises(ValueError, match="lower triangular"):
        ours.vec_to_tril_matrix(livegrad.ones(4))
    with pytest.raises(ValueError, match="outside"):
        ours.tril_matrix_to_vec(livegrad.ones(2, 2), 2)


def test_properties_that_are_computed_once():
    class Twice:
        computed = 0

        def __init__(self):
            self.x = livegrad.ones(1, requires_grad=True)

        @ours.lazy_property
        def double(self):
            """Two times x."""
            self.computed += 1
            return self.x * 2

    made = Twice()
    with livegrad.no_grad():
        assert made.double.requires_grad and made.double is made.double and made.computed == 1
    assert isinstance(Twice.double, ours.lazy_property) and Twice.double.__doc__ == "Two times x."


def test_examples():
    assert doctest.testmod(ours).failed == 0
