"""The names of graph nodes against PyTorch's, over the samples of its own table of operators."""

import sys
import types
import unittest
import warnings

import numpy as np
import pytest

import livegrad

torch = pytest.importorskip("torch")

if "expecttest" not in sys.modules:  # which the table's module imports for a class that nothing here uses
    sys.modules["expecttest"] = types.ModuleType("expecttest")
    sys.modules["expecttest"].TestCase = unittest.TestCase
common = pytest.importorskip("torch.testing._internal.common_methods_invocations")

SAMPLES = 4  # of each operator

# Operators whose results show another name, and why.
COMPOSED = "it is made of several operators, of which the last one's name shows"
DEGENERATE = "without dimensions, or without a batch, all that happens is a copy or a view"
NUMBERS = "PyTorch's number at the end, or its namespace, says which of its overloads ran"
WRITES = "it is a copy, written to; in PyTorch one operator, or one that writes elsewhere"
FLAT = "one dimension is not made two and back again, which shows last in PyTorch"
FFT = "what is real is transformed as real, and not made complex first or conjugated after"
BESIDE = "what comes beside the result is the node's too in PyTorch"
WHOLE = "PyTorch makes of other operators what is one here, or of others than here"
DIFFERENT = {
    COMPOSED: """
        _softmax_backward_data ldexp linalg.householder_product linalg.lstsq linalg.lstsq.grad_oriented linalg.lu linalg.lu_factor
        linalg.lu_factor_ex linalg.lu_solve linalg.qr linalg.slogdet linalg.solve lu lu_solve lu_unpack
        matrix_exp mvlgamma.mvlgamma_p_1 mvlgamma.mvlgamma_p_3 mvlgamma.mvlgamma_p_5 nn.functional.batch_norm
        grid_sampler_2d grid_sampler_3d native_batch_norm nn.functional.grid_sample nn.functional.pdist nn.functional.rrelu qr renorm special.log_ndtr
        special.ndtri triangular_solve
    """,
    DEGENERATE: """
        cumprod cumsum index_add index_copy index_fill matmul max.reduction_with_dim min.reduction_with_dim
        put
    """,
    NUMBERS: """
        cumulative_trapezoid fill linalg.matrix_power nanquantile nn.functional.cross_entropy
        nn.functional.pairwise_distance normal normal.number_mean quantile round.decimals_0 stft trapezoid
        trapz
    """,
    WRITES: """
        as_strided_scatter diagonal_scatter diff nn.functional.pad.circular select_scatter slice_scatter
    """,
    FLAT: """
        nn.functional.adaptive_avg_pool1d nn.functional.adaptive_max_pool1d nn.functional.avg_pool1d
        nn.functional.interpolate.area nn.functional.max_pool1d nn.functional.max_unpool1d
        nn.functional.max_unpool1d.grad
    """,
    FFT: """
        fft.fft2 fft.fftn fft.ifft fft.ifft2 fft.ifftn fft.ihfft fft.ihfft2 fft.ihfftn
    """,
    BESIDE: "native_group_norm",
    WHOLE: """
        combinations kron linalg.cond linalg.multi_dot linalg.tensorinv linalg.vecdot nn.functional.ctc_loss
        nn.functional.instance_norm nn.functional.kl_div nn.functional.rms_norm
        nn.functional.scaled_dot_product_attention special.ndtr
    """,
}  # fmt: skip
REASONS = {name: reason for reason, names in DIFFERENT.items() for name in names.split()}


def ours(x):
    """An argument of PyTorch's sample for livegrad."""
    if isinstance(x, torch.Tensor):
        made = livegrad.tensor(np.array(x.detach().resolve_conj().resolve_neg().numpy()))
        return made.requires_grad_() if x.requires_grad else made
    if isinstance(x, torch.dtype):
        return getattr(livegrad, str(x)[6:])
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return type(x)(ours(y) for y in x)
    if isinstance(x, dict):
        return {k: ours(v) for k, v in x.items()}
    if isinstance(x, slice):
        return slice(*(ours(y) for y in (x.start, x.stop, x.step)))
    return livegrad.device(str(x)) if isinstance(x, torch.device) else x


def names(made):
    """The names of the nodes of all results."""
    if isinstance(made, (torch.Tensor, livegrad.Tensor)):
        return [made.grad_fn.name() if made.grad_fn is not None else None]
    return [n for each in made for n in names(each)] if isinstance(made, (tuple, list)) else []


def samples(op, dtype):
    """PyTorch's samples that can be handed over: (its arguments, livegrad's)."""
    found = []
    for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
        given = (sample.input, sample.args, sample.kwargs)
        tensors = [x for x in torch.utils._pytree.tree_leaves(given) if isinstance(x, torch.Tensor)]
        if any(x.layout is not torch.strided for x in tensors):
            continue
        found.append((given, tuple(ours(each) for each in given)))
        if len(found) == SAMPLES:
            break
    return found


def function(name):
    found = livegrad
    for atom in name.split("."):
        found = getattr(found, atom, None)
    return found


def operators():
    return sorted({(op.name, op.variant_test_name) for op in common.op_db if op.supports_autograd})


@pytest.fixture(scope="module")
def table():
    return {(op.name, op.variant_test_name): op for op in common.op_db}


def differing(op):
    """{PyTorch's names: livegrad's} where they are not the same."""
    f, different = function(op.name), {}
    dtype = next((d for d in (torch.float32, torch.complex64) if d in op.dtypes), None)
    if f is None or dtype is None:
        return {}
    for (x, args, kwargs), (mine, my_args, my_kwargs) in samples(op, dtype):
        try:
            expected, found = names(op.op(x, *args, **kwargs)), names(f(mine, *my_args, **my_kwargs))
        except Exception:  # noqa: BLE001 - whether a call is allowed is what other tests are about
            continue
        if expected != found:
            different[str(expected)] = found
    return different


@pytest.mark.parametrize("name, variant", operators())
def test_names(name, variant, table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        different = differing(table[name, variant])
    if f"{name}.{variant}".rstrip(".") in REASONS:
        assert different, "the names agree by now: take it out of the list"
    else:
        assert not different
