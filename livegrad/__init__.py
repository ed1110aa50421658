"""livegrad: a define-by-run tensor library in pure Python.

PyTorch's names and behaviour; elementwise work is deferred and fused into kernels by itself; the recorded graph can be
looked at with `livegrad.graph`.

>>> import livegrad
>>> x = livegrad.arange(1., 4., requires_grad=True)
>>> y = ((x + 2) ** 2 + 3).mean()
>>> y
tensor(19.6667, grad_fn=<MeanBackward0>)
>>> y.backward()
>>> x.grad
tensor([2.0000, 2.6667, 3.3333])
"""

from __future__ import annotations

import importlib
import os
import math as _math
from typing import Any

from . import subinterpreter

subinterpreter.refuse()

from . import autograd, dtypes, random
from .autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .creation import (
    arange,
    empty,
    empty_like,
    empty_permuted,
    empty_strided,
    eye,
    full,
    full_like,
    linspace,
    logspace,
    meshgrid,
    ones,
    ones_like,
    tril_indices,
    triu_indices,
    zeros,
    zeros_like,
)
from .from_data import as_tensor, asarray, from_dlpack, from_file, from_numpy, frombuffer, scalar_tensor, tensor
from .creation import range_ as range  # noqa: A004
from .devices import device
from .dtypes import (
    Size, bfloat16, complex64, complex128, dtype, finfo, float16, float32, float64, get_default_dtype, iinfo, int8,
    int16, int32, int64, promote_types, set_default_dtype, uint8,
)  # fmt: skip
from .tensor import Tensor

from .version import __version__

from . import convert  # isort: skip  (methods of Tensor)
from . import memory
from .codegen.kernels import compiling, wait_for_compiler
from .lazy.control import eager, eval, is_eager  # noqa: A004
from .memory import (
    OutOfMemoryError, empty_cache, max_memory_allocated, memory_allocated, memory_reserved, memory_stats,
    memory_summary, reset_peak_memory_stats, set_memory_limit,
)  # fmt: skip

# Registers all operators.
for _part in (
    "elementwise",
    "elementwise_functions",
    "reduce",
    "extremes",
    "variance",
    "norms",
    "softmax",
    "view",
    "parts",
    "copying",
    "index",
    "assignment",
    "gather",
    "scatter",
    "joining",
    "splitting",
    "repeat",
    "triangles",
    "order",
    "counting",
    "running",
    "matmul",
    "contractions",
    "linear",
    "composite",
    "covariance",
    "distances",
    "einsum",
    "conv_functions",
    "pool_functions",
    "rearrange",
    "matrices",
    "quantiles",
    "wholes",
    "names",
    "bessel",
    "histograms",
    "view_copies",
):
    importlib.import_module(f"livegrad.ops.{_part}")
from .ops.registry import FUNCTIONS as _FUNCTIONS, known_as as _known_as
from .native.holding import public as _are_public
from .overriding import ANNOUNCED as _ANNOUNCED, asks as _asks
from .formats import (
    channels_last, channels_last_3d, contiguous_format, jagged, layout, legacy_contiguous_format, memory_format,
    preserve_format, sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr, strided,
)  # fmt: skip
from .legacy import (
    BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor, LongTensor,
    ShortTensor, get_default_device, set_default_device, set_default_tensor_type,
)  # fmt: skip
from .random import (
    Generator, bernoulli, binomial, default_generator, get_rng_state, initial_seed, manual_seed, multinomial, normal,
    poisson, rand, rand_like, randint, randint_like, randn, randn_like, randperm, seed, set_rng_state,
)  # fmt: skip
from .runtime.pool import get_num_threads, set_num_threads
from .switches import are_deterministic_algorithms_enabled, use_deterministic_algorithms

bool = dtypes.bool_  # noqa: A001
globals().update(dtypes.ONLY_NAMES)
half, float, double = float16, float32, float64  # noqa: A001
short, int, long = int16, int32, int64  # noqa: A001
cfloat, cdouble = complex64, complex128
newaxis = None
inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e
globals().update({_name: _f for _name, _f in _FUNCTIONS.items() if not _name.startswith("_")})
for _name, _f in (*_FUNCTIONS.items(), *vars(Tensor).items()):
    if not _name.startswith("_"):
        _known_as(_f, _name)
for _name, _f in _FUNCTIONS.items():  # they are pickled by their names, which lead here
    if _f.__name__ == _name and not _name.startswith("_"):
        _f.__module__, _f.__qualname__ = __name__, _name

for _name in (  # which take no tensors, but modes see
    "tril_indices",
    "triu_indices",
    "meshgrid",
    "bernoulli",
    "binomial",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "is_conj",
    "is_neg",
    "resolve_conj",
    "resolve_neg",
):
    if globals()[_name] not in _ANNOUNCED:
        globals()[_name] = _asks(globals()[_name])
for _name in ("tensor", "as_tensor", "asarray", "from_file", "from_numpy", "frombuffer", "scalar_tensor"):
    globals()[_name] = _asks(globals()[_name], False)

# Loaded on first use.
_MODULES = frozenset(
    ("nn", "optim", "utils", "cpu", "cuda", "linalg", "fft", "func", "distributed", "testing", "ops", "serialization",
     "printing", "special", "backends", "amp", "profiler", "distributions",
     "multiprocessing", "legacy", "jit", "version", "compat", "debug", "hub", "library", "compiler", "accelerator",
     "types", "return_types", "onnx", "ao", "fx", "export", "quasirandom", "sparse", "storage", "_C", "_custom_ops",
     "_dynamo", "_higher_order_ops",
     "__config__", "_functorch", "_guards", "_utils", "functional", "futures", "overrides", "signal", "nested")
)  # fmt: skip
_LAZY = {
    "save": "serialization",
    "load": "serialization",
    "PyTorchFileReader": "serialization.records",
    "ScriptModule": "jit",
    "Future": "futures",
    "set_printoptions": "printing",
    "printoptions": "printing",
    "get_printoptions": "printing",
    "graph": "graph",
    "vmap": "func",
    "triangular_solve": "linalg.solving",
    "_standard_gamma": "distributions.gamma",
    "TensorType": "_C",
    "StorageBase": "storages",
    "Stream": "cuda",
    "Event": "cuda",
    "get_device_module": "_utils",
    **dict.fromkeys(("igamma", "igammac"), "special_functions"),
    **dict.fromkeys(("istft", "stft"), "spectrogram"),
    **dict.fromkeys(("pca_lowrank", "svd_lowrank"), "low_rank"),
    "lobpcg": "eigenpairs",
    **dict.fromkeys(
        ("gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"),
        "recurrences"),
    **dict.fromkeys(("cond", "while_loop"), "control_flow"),
    **dict.fromkeys(
        ("sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor", "sparse_coo_tensor", "sparse_csc_tensor",
         "sparse_csr_tensor", "spmm"), "sparse"),
    **dict.fromkeys(
        ("SymBool", "SymFloat", "SymInt", "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not",
         "sym_sqrt", "sym_sum"), "symbols"),
    **dict.fromkeys(("TypedStorage", "UntypedStorage"), "storages"),
    **dict.fromkeys(
        ("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"), "windows"),
    **dict.fromkeys(
        ("_assert", "_assert_async", "_check", "_check_index", "_check_is_size", "_check_not_implemented",
         "_check_tensor_all", "_check_tensor_all_with", "_check_type", "_check_value", "_check_with"), "checks"),
    **dict.fromkeys(
        ("get_deterministic_debug_mode", "get_num_interop_threads", "is_deterministic_algorithms_warn_only_enabled",
         "is_warn_always_enabled", "set_deterministic_debug_mode", "set_flush_denormal", "set_num_interop_threads",
         "set_warn_always"), "switches"),
    **dict.fromkeys(
        ("is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_anomaly_enabled"), "autograd.anomaly"),
    **dict.fromkeys(
        ("alpha_dropout", "batch_norm", "binary_cross_entropy_with_logits", "constant_pad_nd", "cosine_embedding_loss",
         "ctc_loss", "dropout", "embedding", "embedding_bag", "feature_alpha_dropout", "feature_dropout", "group_norm",
         "hinge_embedding_loss", "instance_norm", "kl_div", "layer_norm", "margin_ranking_loss", "poisson_nll_loss",
         "triplet_margin_loss", "_log_softmax_backward_data", "_softmax_backward_data"), "flat"),
    **dict.fromkeys(
        ("affine_grid_generator", "conv_tbc", "convolution", "frobenius_norm", "grid_sampler", "grid_sampler_2d",
         "grid_sampler_3d", "max_pool1d_with_indices", "native_batch_norm", "native_channel_shuffle", "native_dropout",
         "native_group_norm", "native_layer_norm", "norm_except_dim", "nuclear_norm"), "native_layers"),
    **dict.fromkeys(
        ("alpha_dropout_", "dropout_", "embedding_renorm_", "feature_alpha_dropout_", "feature_dropout_"), "flat"),
    **dict.fromkeys(("GradScaler",), "amp"),
    **dict.fromkeys(("Event", "Stream"), "cuda"),
    **dict.fromkeys(
        ("bilinear", "celu", "celu_", "cosine_similarity", "hardshrink", "pairwise_distance", "pdist", "prelu",
         "rms_norm", "rrelu", "rrelu_", "selu", "selu_", "threshold", "threshold_"), "nn.functional"),
    **dict.fromkeys(
        ("autocast", "clear_autocast_cache", "get_autocast_dtype", "is_autocast_cache_enabled", "is_autocast_enabled",
         "set_autocast_cache_enabled", "set_autocast_dtype", "set_autocast_enabled", "is_autocast_cpu_enabled",
         "get_autocast_cpu_dtype", "get_autocast_gpu_dtype", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
         "set_autocast_gpu_dtype"), "amp.autocast_mode"),
}  # fmt: skip


def _lu(name: str) -> Any:
    from .linalg import elimination

    return {"lu": elimination.lu_of, "lu_solve": elimination.lu_solve_of, "lu_unpack": elimination.lu_unpack}[name]


def __getattr__(name: str) -> Any:
    if name in ("lu", "lu_solve", "lu_unpack"):
        found = _lu(name)
    elif name in _LAZY:
        found = getattr(importlib.import_module(f"livegrad.{_LAZY[name]}"), name)
    elif name.startswith("_foreach_"):
        found = getattr(importlib.import_module("livegrad.foreach"), name)
    elif name in _MODULES:
        try:
            found = importlib.import_module(f"livegrad.{name}")
        except ModuleNotFoundError as missing:
            if missing.name != f"livegrad.{name}":
                raise
            raise AttributeError(f"module 'livegrad' has no attribute '{name}'") from None
    elif name in _FUNCTIONS and not name.startswith("_"):  # declared since
        found = _FUNCTIONS[name]
    else:
        raise AttributeError(f"module 'livegrad' has no attribute '{name}'")
    globals()[name] = found
    _are_public({name: found}, ours=2)
    return found


def is_storage(obj: Any) -> Any:
    """Whether an object is a storage, as `Tensor.storage` and `Tensor.untyped_storage` return them."""
    from .storages import TypedStorage, UntypedStorage

    return isinstance(obj, (TypedStorage, UntypedStorage))


def typename(obj: Any) -> str:
    """The name of an object's type, with its module."""
    return obj.type() if isinstance(obj, Tensor) else f"{type(obj).__module__}.{type(obj).__qualname__}"


def compile(model: Any = None, **options: Any) -> Any:
    """The model itself: work is deferred, fused and compiled without being asked."""
    return (lambda m: m) if model is None else model


def get_float32_matmul_precision() -> str:
    """How float32 products are computed on CUDA devices: "highest", "high" or "medium"."""
    from .backends import cuda

    return cuda.matmul.precision


def set_float32_matmul_precision(precision: str) -> None:
    """ "highest": in float32, the default. "high" and "medium": in TF32 on CUDA devices that have it.

    On the CPU float32 products are always computed in float32. Raises RuntimeError for another word.
    """
    from .backends import cuda

    cuda.matmul.set_precision(precision)


from .native import shown_in as _shown_in

_shown_in(__name__, Tensor, Size, device, dtype, finfo, iinfo, layout, memory_format, OutOfMemoryError)
_shown_in(f"{__name__}._C", Generator)
_are_public(globals())
if os.environ.get("LIVEGRAD_NATIVE") == "always":
    from .native import build as _build  # here, for the helper thread cannot import from a package that is not whole
    from .native.unit import install as _install

    _install(wait=True)
