"""Results, gradients and errors at the edges: NaN and zeros, nothing at all, a wrong rank or dtype; as in PyTorch."""

from __future__ import annotations

import pytest
from ops_support import Raised, assert_same, attempt, needs_torch

import livegrad

try:
    import torch
except ImportError:
    torch = None

nan, inf = float("nan"), float("inf")


def value(source, lib, x=None):
    def run():
        return eval(source, {"t": lib, "F": lib.nn.functional, "nn": lib.nn, "nan": nan, "inf": inf, "x": x})

    return attempt(run)


def check(source, got, expected):
    if isinstance(expected, Raised):
        assert isinstance(got, Raised), f"{source}: PyTorch raises {expected!r}; here: {got!r}"
        assert type(got.error) is type(expected.error), f"{source}: {got!r}, not {expected!r}"
    else:
        assert not isinstance(got, Raised), f"{source}: {got!r}"
        assert_same(got, expected, rtol=1e-6)


CALLS = """
F.relu6(t.tensor([3, 7, -1]))
F.relu6(t.tensor([True]))
F.hardtanh(t.tensor([3, 7], dtype=t.uint8), 0, 4)
F.hardtanh(t.tensor([3, 7], dtype=t.uint8))
F.l1_loss(t.ones(3), t.ones((), dtype=t.float64))
F.mse_loss(t.ones(3), t.zeros((), dtype=t.float64))
F.mse_loss(t.ones((), dtype=t.float64), t.zeros(3), reduction='none')
F.smooth_l1_loss(t.ones(3), t.zeros((), dtype=t.float64))
F.huber_loss(t.ones((), dtype=t.float64), t.zeros(3))
F.mse_loss(t.tensor([1, 2]), t.tensor([3, 4]))
t.softmax(t.tensor([1, 2]), 0)
t.softmax(t.empty(0, 3, dtype=t.int64), 0)
t.log_softmax(t.empty(0, 3, dtype=t.int64), 0)
t.cdist(t.ones(3), t.ones(2, 3))
t.cdist(t.ones(2, 3), t.ones(3))
t.cdist(t.ones(2, 3), t.ones(2, 2))
t.cdist(t.tensor([[1, 2]]), t.tensor([[3, 4]]))
t.logaddexp2(t.tensor([2.0, 4.0, -inf, inf]), t.tensor([1.0, 2.0, -inf, 3.0]))
t.rsub(t.tensor([1.0, 2.0]), t.tensor([3.0, 4.0]), alpha=2)
t.rsub(t.tensor([1.0, 2.0]), 3, alpha=2)
t.tensor([[1.5, nan, 0.5], [0.25, 3.0, -1.0]]).nanmedian()
t.tensor([[1.5, nan, 0.5], [0.25, 3.0, -1.0]]).nanmedian(1)
t.tensor([nan, nan]).nanmedian()
t.tensor([[nan, nan], [1.0, nan]]).nanquantile(0.5, 1)
t.tensor([[nan, 2.0], [1.0, 3.0]]).nanquantile(t.tensor([0.25, 0.75]), 1, keepdim=True)
t.tensor([[nan, 2.0], [1.0, 3.0]]).quantile(t.tensor([0.25, 0.75]), 0, interpolation='nearest')
t.nextafter(t.tensor([1.0, 0.0, inf]), t.tensor([2.0, -1.0, 0.0]))
t.nextafter(t.tensor([1]), t.tensor([2]))
t.linalg.cross(t.tensor([[1.0, 2.0, 3.0]]), t.tensor([[0.0, 1.0, 0.0]]))
t.linalg.cross(t.ones(2), t.ones(2))
t.cross(t.ones(3, 2), t.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]))
t.cross(t.ones(2, 2), t.ones(2, 2))
t.cross(t.ones(3), t.ones(3, dtype=t.float64))
t.ones(3, 1).broadcast_to(2, 3, 4)
t.einsum('ij,jk->ik', t.ones(3, 0), t.ones(0, 2))
t.einsum('ij,jk->ik', t.ones(3, 2), t.ones(2, 0))
t.einsum('i,i->', t.ones(0), t.ones(0))
F.adaptive_avg_pool2d(t.ones(2, 3), 1)
F.adaptive_avg_pool2d(t.ones(3), 1)
F.adaptive_avg_pool2d(t.ones(2, 3, 0, 2), 1)
F.adaptive_avg_pool1d(t.ones(2, 3, dtype=t.int64), 1)
F.adaptive_max_pool2d(t.ones(2, 3, 3, dtype=t.int64), 1)
F.avg_pool2d(t.ones(2, 3), 1)
F.avg_pool2d(t.ones(1, 2, 2, dtype=t.bool), 1)
F.max_pool2d(t.ones(1, 2, 2, dtype=t.bool), 1)
t.tensor(1.0).narrow(0, 0, 1)
t.ones(3).narrow(0, -5, 1)
t.ones(3).narrow(0, -2, 1)
t.tensor(1.0).split(1)
t.ones(3).split(0)
t.tensor(1.0).chunk(1)
t.tensor(1.0).tensor_split(2)
t.ones(3).tensor_split(0)
t.ones(5).tensor_split(t.tensor([1, 3]))
t.tensor(1.0).unbind()
t.ones(0, 3).amax(0)
t.ones(2, 0, 3).amin((0, 1))
t.ones(0, 3).amax(1)
t.ones(0).amax(0)
t.ones(0).amax()
t.ones(0, 3).aminmax(dim=0)
t.ones(0, 3).logcumsumexp(0)
t.tensor([1, 2]).logcumsumexp(0)
t.tensor([True]).topk(1)
t.tensor([True, False]).kthvalue(1)
t.ones(3).flip()
t.ones(0, 3).quantile(0.5, 1)
t.tensor(1.0).diff()
t.tensor([1.0, 4.0, 9.0]).diff(prepend=t.zeros(1), append=t.tensor([10.0, 12.0]))
t.tensor([1.0, 4.0, 9.0]).diff(n=-1)
t.tensor(1.0).unflatten(0, (1, 1))
t.tensor(1.0).movedim(0, 1)
t.ones(2, 3).movedim((0, 1), (0,))
t.ones(2, 3).movedim((0, 0), (0, 1))
t.ones(3).renorm(2, 0, 1.0)
t.ones(2, 3).renorm(2, 0, -1.0)
t.ones(3).rot90()
t.ones(2, 3).rot90(1, (0, 0))
t.ones(3).fliplr()
t.tensor(1.0).flipud()
t.ones(3, 0).cov()
t.tensor([[1.0, 2.0, 4.0], [0.0, 5.0, 3.0]]).cov(fweights=t.tensor([1, 2, 1]), aweights=t.tensor([0.5, 1.0, 2.0]))
t.tensor([[1.0, 2.0, 4.0], [0.0, 5.0, 3.0]]).cov(fweights=t.tensor([1, 2, 1]))
t.tensor(1.0).diag_embed()
t.tensor([[1.0, 2.0], [3.0, 4.0]]).diag_embed(1, 0, 2)
t.ones(2).diag_embed(0, 1, 1)
t.trapz(t.ones(3, 0))
t.trapz(t.tensor([True, False]))
t.vander(t.ones(2, 2))
t.vander(t.ones(0))
t.bincount(t.ones(2))
t.zeros(5, 2).fill_diagonal_(1.0, wrap=True)
t.zeros(2, 2, 2).fill_diagonal_(1.0)
t.zeros(2, 3, 2).fill_diagonal_(1.0)
t.ones(2).fill_diagonal_(1.0)
t.searchsorted(t.tensor([5, 1, 3]), t.tensor([2, 4]), sorter=t.tensor([1, 2, 0]))
t.searchsorted(t.tensor([1, 3, 5]), t.tensor([3]), side='left', right=True)
t.var_mean(t.tensor([1.0, 2.0, 4.0]), False)
t.std_mean(t.tensor([[1.0, 2.0], [4.0, 0.0]]), unbiased=False)
t.norm(t.ones(2, 2), 2, 1, False, dtype=t.float64)
t.ones(4).split(split_size=2)
t.ones(4).tensor_split(sections=2)
t.ones(4).tensor_split(indices=(1, 3))
t.mm(t.ones(2, 3), mat2=t.ones(3, 1))
t.bmm(t.ones(1, 2, 3), t.ones(1, 2, 3))
t.mv(t.ones(2, 3), vec=t.ones(3))
t.dot(t.ones(3), tensor=t.ones(3))
t.matmul(t.ones(2, 3), other=t.ones(3))
t.add(2, t.tensor([1.0, 2.0]))
t.add(2, t.tensor([1.0, 2.0]), alpha=3)
t.sub(2.5, t.tensor([1, 2], dtype=t.uint8))
t.div(2, t.tensor([1, 4]))
t.div(7, t.tensor([2, 4]), rounding_mode='floor')
t.floor_divide(7, t.tensor([2, 4]))
t.float_power(2, t.tensor([1, 4]))
t.floor_divide(t.tensor([True]), t.tensor([False]))
t.ones(0, 2, dtype=t.int64) // t.zeros(1, 2, dtype=t.int64)
t.mm(t.ones(2, 2), 2)
t.equal(t.ones(2), 2)
t.isclose(t.ones(2), 1.0)
t.inner(t.ones(2), 2)
t.max(t.ones(2), 2.5)
t.tensordot(t.ones(2, 2), t.tensor(1.0))
t.tensordot(t.tensor([[1, 2], [3, 4]], dtype=t.int16), t.tensor([[5, 6]], dtype=t.int16))
t.tensordot(t.ones(2, 2), t.ones(2, 2, dtype=t.float64))
t.linalg.qr(t.tensor([[1, 2], [3, 4]]))
t.linalg.svd(t.ones(2))
t.linalg.solve(t.tensor([[2.0, 1.0], [0.0, 3.0]]), t.tensor([[2.0, 4.0]]), left=False)
t.histc(t.ones(0, 2), 4)
t.histc(t.tensor([1, 2]), 4)
t.histc(t.tensor([1.0, inf]), 4)
t.nextafter(t.tensor([1]), t.tensor([2.0]))
t.celu(t.tensor([-1.0, 2.0]))
F.multi_margin_loss(t.tensor([[.1,.2,.4],[.9,.3,.2]]),t.tensor([2,0]))
F.multi_margin_loss(t.tensor([[.1,.2,.4],[.9,.3,.2]]),t.tensor([2,0]),p=2,margin=.5,weight=t.tensor([1.,2.,3.]),reduction='none')
F.multi_margin_loss(t.tensor([.1,.2,.4]),t.tensor(2))
F.multi_margin_loss(t.tensor([.1,.2,.4]),t.tensor([2]),reduction='sum')
F.multi_margin_loss(t.tensor([.1,.2,.4]),t.tensor(2),p=3)
F.multi_margin_loss(t.ones(2,2,2),t.tensor([1,0]))
F.multi_margin_loss(t.ones(2,3),t.tensor([1]))
F.multi_margin_loss(t.ones(1,3),t.tensor([3]))
F.multilabel_margin_loss(t.tensor([[.1,.2,.4,.8]]),t.tensor([[3,0,-1,1]]))
F.multilabel_margin_loss(t.tensor([.1,.2,.4,.8]),t.tensor([3,0,-1,1]),reduction='none')
F.multilabel_margin_loss(t.tensor([[.1,.2,.4,.8],[.5,.1,.2,.3]]),t.tensor([[3,0,-1,1],[1,-1,0,2]]),reduction='none')
F.multilabel_margin_loss(t.ones(2,3),t.tensor([1]))
nn.MultiMarginLoss()(t.ones(1,3),t.tensor([1]))
nn.MultiLabelMarginLoss()(t.ones(1,3),t.tensor([[1,-1,0]]))
t.hann_window(5)
t.hann_window(1)
t.hann_window(0)
t.hann_window(-1)
t.hann_window(6,False,dtype=t.float64)
t.hann_window(6,dtype=t.int64)
t.hamming_window(7,False,.5,.4)
t.blackman_window(7, dtype=t.float64)
t.bartlett_window(7)
t.bartlett_window(6,periodic=False)
t.kaiser_window(7,True,5.0)
t.kaiser_window(6,False)
t.linalg.vecdot(t.ones(2,3),t.arange(3.))
t.linalg.vander(t.tensor([1.,2.,3.]))
t.linalg.vander(t.tensor([[1.,2.],[3.,4.]]),N=4)
t.linalg.cond(t.tensor([[1.,2.],[3.,5.]]))
t.linalg.cond(t.tensor([[1.,2.],[3.,5.]]),'fro')
t.linalg.cond(t.tensor([[1.,2.],[3.,5.]]),-2)
t.linalg.cond(t.tensor([[1.,2.],[3.,5.]]),1)
t.linalg.diagonal(t.ones(2,3,4))
t.linalg.tensorinv(t.eye(6).reshape(2,3,6)*2)
t.linalg.tensorinv(t.eye(6).reshape(2,3,6)*2,ind=1)
t.linalg.tensorsolve(t.eye(6).reshape(2,3,2,3)*2,t.ones(2,3))
t.linalg.matrix_exp(t.zeros(2,2))
t.polygamma(1,t.tensor([1.,.5]))
t.polygamma(-1,t.tensor([1.,.5]))
t.mvlgamma(t.tensor([3.,4.]),2)
t.special.multigammaln(t.tensor([3.,4.]),0)
t.special.xlogy(0,t.tensor([0.,1.]))
t.special.log_softmax(t.ones(2),0)
t.special.ndtr(t.tensor([1,2]))
t.special.entr(t.tensor([-1.,0.,.5,nan]))
t.i0(t.tensor([1,2]))
t.special.i1(t.tensor([0.,600.],dtype=t.float64))
t.gradient(t.ones(1))
t.gradient(t.tensor([1,4,9]))
t.unravel_index(t.tensor([9]),(2,4))
t.unravel_index(t.tensor([-1]),(2,4))
t.frexp(t.tensor([1]))
t.fill(t.ones(2),3)
t.relu_(t.tensor([-1.,2.]))
t.sqrt_(t.tensor([1.0, 4.0]))
t.clamp_(t.tensor([1.0, 4.0]), max=2)
t.sqrt_(2.0)
t.atleast_3d(t.ones(2), t.ones(2, 3))
t.detach(t.ones(2,requires_grad=True))
t.is_signed(t.ones(2))
t.narrow_copy(t.arange(4),0,1,2)
t.is_same_size(t.ones(2),t.ones(3))
t.hardshrink(t.tensor([0.3, 2.0]))
t.cosine_similarity(t.ones(2, 2), t.ones(2, 2))
t.ones(0, 3).max(0)
t.ones(0, 3).argmax(0)
t.ones(0, 3).argmax()
t.ones(0, 3).kthvalue(1, 0)
t.ones(4).kthvalue(0)
t.ones(0, 3).norm(inf, 0)
t.ones(0, 3).norm(-1.0)
t.ones(0, 3).norm(3.0, 0)
F.embedding(t.tensor([0]), t.ones(3))
F.embedding(t.tensor([0]), t.ones(0, 3))
F.embedding(t.tensor([3]), t.ones(2, 3))
F.prelu(t.ones(3), t.ones(1, dtype=t.float64))
F.linear(t.ones(2, 3), t.ones(3), t.ones(2))
F.linear(t.ones(2, 3), t.ones(2, 2, 3))
F.linear(t.ones(2, 3), t.ones(4, 3), t.ones(4, dtype=t.float64))
t.addmm(t.ones(3, dtype=t.float64), t.ones(2, 2), t.ones(2, 3))
t.addmm(t.ones(4), t.ones(2, 2), t.ones(2, 3))
t.addmm(t.ones(5, 2, 3), t.ones(2, 2), t.ones(2, 3))
t.addmv(t.ones(2, dtype=t.float64), t.ones(2, 2), t.ones(2))
t.baddbmm(t.ones(2, 3, 4), t.ones(2, 3, 2), t.ones(2, 2, 3))
t.ones(2).bitwise_and(t.ones(2))
t.heaviside(t.tensor([-1.0, 0.0, nan]), t.tensor([5.0, 6.0, 7.0]))
""".strip().splitlines()


@needs_torch
@pytest.mark.parametrize("source", CALLS)
def test_calls(source):
    check(source, value(source, livegrad), value(source, torch))


GRADIENTS = [
    ("x // 2", [3.0, 4.0]),
    ("t.floor_divide(t.ones(2, dtype=t.float64), x)", [3.0, 4.0]),
    ("5 % x", [3.0, 4.0]),
    ("t.tensor([5.0, 6.0], dtype=t.float64) % x", [3.0, 4.0]),
    ("x % 2", [3.0, 4.0]),
    ("t.div(x, 2, rounding_mode='floor')", [3.0, 4.0]),
    ("t.heaviside(x, x)", [3.0, 4.0]),
    ("t.nextafter(x, x)", [3.0, 4.0]),
    ("x.prod()", [0.0, 0.0, nan, 1.0]),
    ("x.prod(0)", [0.0, 0.0, nan, 1.0]),
    ("x.prod()", [0.0, 2.0, 3.0]),
    ("F.elu(x)", [nan, 2.0, -1.0, -inf]),
    ("F.celu(x, 1.5)", [nan, 2.0, -1.0, -inf]),
    ("F.selu(x)", [nan, 2.0, -1.0, -inf]),
    ("x.norm(inf)", [1.0, nan, 2.0]),
    ("x.norm(-inf)", [1.0, nan, 2.0]),
    ("x.norm(inf, 0)", [2.0, -2.0, 1.0]),
    ("x.norm(0.5)", [0.0, 1.0, 2.0]),
    ("x.norm(-1.0)", [0.0, 1.0, 2.0]),
    ("x.norm(-1.0)", [3.0, 1.0, -2.0]),
    ("x.norm(3)", [0.0, 1.0, -2.0]),
    ("x.norm(1)", [0.0, 1.0, -2.0]),
    ("x.norm(0)", [0.0, 1.0, -2.0]),
    ("x.norm(1.5)", [0.0, 0.0]),
    ("F.kl_div(t.log(t.full((3,), 0.5, dtype=t.float64)), x, reduction='sum')", [0.0, 0.5, 1.0]),
    ("x.nanmean(0)", [[1.0, nan], [nan, nan]]),
    ("x.nansum()", [1.0, nan, 2.0]),
    ("x.nanmedian()", [1.0, nan, 2.0]),
    ("x.quantile(0.5)", [1.0, nan, 2.0]),
    ("x.nanquantile(0.5)", [1.0, nan, 2.0, 4.0]),
    ("t.logaddexp2(x, x)", [1.0, 2.0]),
]


@needs_torch
@pytest.mark.parametrize("source, numbers", GRADIENTS)
def test_gradients(source, numbers):
    def run(lib):
        x = lib.tensor(numbers, dtype=lib.float64, requires_grad=True)
        made = value(source, lib, x)
        if isinstance(made, Raised):
            raise made.error
        made.sum().backward()
        return made, x.grad

    check(source, attempt(run, livegrad), attempt(run, torch))


@needs_torch
def test_lengths_in_half_precision():
    """The gradient of a tiny length does not overflow, as its inverse would."""

    def run(lib):
        x = lib.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=lib.float16, requires_grad=True)
        made = lib.nn.functional.pairwise_distance(x, x.detach())
        made.sum().backward()
        return made, x.grad

    assert_same(run(livegrad), run(torch), rtol=2e-3)


def test_more_indices_than_there_is_memory_for_results():
    index = livegrad.zeros(1, dtype=livegrad.int64).expand(10**13)
    for program in (lambda x: x[index], lambda x: x.index_select(0, index), lambda x: x.take(index)):
        with pytest.raises(RuntimeError, match="out of memory"):
            program(livegrad.ones(3))
