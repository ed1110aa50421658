"""What layers, functions and optimizers make for themselves is made on the device of what they are given."""

import numpy as np
import pytest
import stand_in

import livegrad
from livegrad import nn

F = nn.functional


@pytest.fixture(autouse=True)
def pretended():
    with stand_in.in_use():
        yield


def made(seed, *shape):
    return livegrad.tensor(np.random.default_rng(seed).standard_normal(shape).astype("f"))


class Half(livegrad.autograd.Function):
    """The second output is not used, so its gradient is made up."""

    @staticmethod
    def forward(ctx, x):
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, g, unused):
        return g * 2 + unused


WORDS = livegrad.tensor([[0, 2, 1], [3, 3, 0]])
MASK = livegrad.tensor([[False, True, False], [True, False, False], [False, False, True]])
FUNCTIONS = {
    "bags": lambda w, to: F.embedding_bag(to(WORDS), w),
    "bags by offsets": lambda w, to: F.embedding_bag(to(WORDS.reshape(-1)), w, to(livegrad.tensor([0, 4])), mode="sum"),
    "largest of bags": lambda w, to: F.embedding_bag(to(WORDS), w, mode="max"),
    "affine grid": lambda w, to: F.affine_grid(w[:2, :3].unsqueeze(0), [1, 1, 3, 4], align_corners=False),
    "masked attention": lambda w, to: F.multi_head_attention_forward(
        w[:3, None], w[:3, None], w[:3, None], 4, 2, made(1, 12, 4).to(w.device), None, None, None, True, 0.0,
        made(2, 4, 4).to(w.device), None, attn_mask=to(MASK))[0],
    "subsequent mask": lambda w, to: w + nn.Transformer.generate_square_subsequent_mask(4, w.device).nan_to_num(0, 0, 0),
    "padded": lambda w, to: nn.utils.rnn.pad_sequence([w[:1], w[:3]]),
    "packed": lambda w, to: nn.utils.rnn.pad_packed_sequence(
        nn.utils.rnn.pack_padded_sequence(w[:, :3, None], livegrad.tensor([1, 3, 2]), enforce_sorted=False), True)[0],
    "powers": lambda w, to: livegrad.linalg.vander(w[0]),
    "a gradient nobody gave": lambda w, to: Half.apply(w)[0],
    "ctc": lambda w, to: F.ctc_loss(
        w[:, :3, None].log_softmax(0).expand(4, 3, 5), to(livegrad.tensor([[1], [2], [1]])), (4, 4, 4), (1, 1, 1)),
    "spectrum": lambda w, to: livegrad.fft.irfft(livegrad.fft.rfft(w) * 2),
    "eigenvalues": lambda w, to: livegrad.linalg.eigvalsh(w + w.T),
    "solved": lambda w, to: livegrad.linalg.solve(w + 4 * livegrad.eye(4, device=w.device), w),
    "in a graph of its own": lambda w, to: livegrad.autograd.grad(w.cumprod(0).sum(), w, create_graph=True)[0],
    "convolved": lambda w, to: F.conv1d(w[None], w[:2, :, None].expand(2, 4, 2)),
    "inverse by a factor": lambda w, to: livegrad.cholesky_inverse(w.tril() + 4 * livegrad.eye(4, device=w.device)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    found = []
    for device in ("cpu", "cuda:0", "cuda:1"):
        w = made(0, 4, 4).to(device).requires_grad_()
        y = FUNCTIONS[name](w, lambda t, device=device: t.to(device))
        (y * y).sum().backward()
        assert str(y.device) == str(w.grad.device) == device
        found.append((y.detach().cpu().numpy(), w.grad.cpu().numpy()))
    for here, there, elsewhere in zip(*found):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(elsewhere, here, rtol=1e-4, atol=1e-5)


def test_slopes_drawn_for_negative_numbers():
    x = made(0, 50).cuda()
    y = F.rrelu(x, 0.25, 0.5, training=True)
    slopes = (y / x).cpu().numpy()
    negative = x.cpu().numpy() < 0
    assert (
        y.is_cuda and (slopes[~negative] == 1).all() and ((slopes[negative] >= 0.24) & (slopes[negative] < 0.51)).all()
    )


def test_pruning():
    layer = nn.Linear(4, 6).cuda()
    nn.utils.prune.ln_structured(layer, "weight", 2, 1, 0)
    nn.utils.prune.random_structured(layer, "weight", 1, 1)
    assert layer.weight.is_cuda and (layer.weight.cpu() == 0).sum().item() >= 12


def test_lbfgs_with_a_parameter_that_has_no_gradient():
    x, other = (livegrad.zeros(2, device="cuda", requires_grad=True) for _ in range(2))
    optimizer = livegrad.optim.LBFGS([x, other], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = ((x - 1) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    np.testing.assert_allclose(x.detach().cpu().numpy(), 1, atol=1e-3)


def test_second_derivatives_are_checked():
    x = made(0, 2, 3).double().cuda().requires_grad_()
    assert livegrad.autograd.gradcheck(lambda x: x.sin() * x, x) and livegrad.autograd.gradgradcheck(
        lambda x: x.sin() * x, x
    )
