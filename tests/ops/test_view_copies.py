"""What views show, copied; and tensors with strides of their own."""

import pytest

import livegrad

CALLS = [
    "permute_copy(x, (1, 0))", "transpose_copy(x, 0, 1)", "t_copy(x)", "squeeze_copy(x[:1])", "squeeze_copy(x[:1], 0)",
    "unsqueeze_copy(x, 1)", "view_copy(x, (6,))", "expand_copy(x[:1], (4, 3))", "select_copy(x, 0, 1)",
    "slice_copy(x, 1, 0, 3, 2)", "diagonal_copy(x)", "detach_copy(x)", "alias_copy(x)", "unfold_copy(x, 1, 2, 1)",
    "as_strided_copy(x, (2, 2), (1, 2))", "unbind_copy(x)", "split_copy(x, 1)", "split_with_sizes_copy(x, [1, 2], 1)",
    "as_strided_scatter(x, -x[:, 0], (2,), (2,), 1)", "unsafe_chunk(x, 2)", "unsafe_split(x, 1, 1)",
    "view_as_real_copy(x.to(lib.complex64))",
]  # fmt: skip


@pytest.mark.parametrize("code", CALLS)
def test_values_as_pytorchs_and_no_memory_shared(code):
    torch = pytest.importorskip("torch")
    results = []
    for lib in (livegrad, torch):
        x = lib.arange(6.0).reshape(2, 3)
        made = eval(f"lib.{code}", {"lib": lib, "x": x})
        each = made if isinstance(made, tuple) else (made,)
        results.append([y.tolist() for y in each])
        if lib is livegrad and "unsafe" not in code:
            for y in each:
                y.zero_()
            assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert results[0] == results[1]


def test_gradients_go_through():
    x = livegrad.arange(6.0).reshape(2, 3).requires_grad_()
    (livegrad.permute_copy(x, (1, 0)) * livegrad.arange(6.0).reshape(3, 2)).sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    src = livegrad.ones(2, requires_grad=True)
    livegrad.as_strided_scatter(x, src, (2,), (2,)).sum().backward()
    assert src.grad.tolist() == [1.0, 1.0] and x.grad.tolist() == [[0.0, 3.0, 4.0], [2.0, 4.0, 6.0]]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_empty_permuted(order):
    torch = pytest.importorskip("torch")
    made = [m.empty_permuted((2, 3, 5), order, dtype=m.float64) for m in (livegrad, torch)]
    assert made[0].shape == made[1].shape and made[0].stride() == made[1].stride()


@pytest.mark.parametrize(
    ("order", "text"), [((0, 0), "Duplicate dim"), ((0, 2), "but got 2 at index 1"), ((0,), "len")]
)
def test_empty_permuted_refuses(order, text):
    with pytest.raises(RuntimeError, match=text):
        livegrad.empty_permuted((2, 3), order)


def test_empty_strided():
    x = livegrad.empty_strided((2, 3), (1, 2), dtype=livegrad.float64, requires_grad=True)
    assert x.stride() == (1, 2) and x.dtype is livegrad.float64 and x.is_leaf and x.requires_grad
    with pytest.raises(RuntimeError, match="mismatch in length of strides and shape"):
        livegrad.empty_strided((2, 3), (1,))
    assert livegrad.ones(2)[livegrad.newaxis].shape == (1, 2)


@pytest.mark.parametrize(
    "name, args", [("float_power_", (2.0,)), ("i0_", ()), ("polygamma_", (1,)), ("mvlgamma_", (2,))]
)
def test_forms_in_place(name, args):
    dtype = livegrad.float64
    x = livegrad.tensor([1.5, 2.5], dtype=dtype)
    expected = getattr(x, name[:-1])(*args).tolist()
    assert getattr(x, name)(*args) is x and x.tolist() == expected
