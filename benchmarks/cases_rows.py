"""Programs over the rows, columns and channels of 16 MB: sums, softmax, normalisation, losses, running totals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import case


def _matrix(m: Any, grad: bool = False) -> Any:
    return m.randn(4096, 1024, requires_grad=grad)


def _images(m: Any, grad: bool = False) -> Any:
    return m.randn(32, 64, 45, 45, requires_grad=grad)


def _forward(name: str, budget: float, what: str, make: Callable, function: Callable) -> None:
    """A case that computes function(library, x) and reads its first element."""

    def set_up(m: Any) -> Callable:
        x = make(m)
        return lambda: function(m, x).reshape(-1)[0].item()

    set_up.__name__, set_up.__doc__ = name, what
    case(budget)(set_up)


def _with_backward(name: str, budget: float, what: str, make: Callable, build: Callable) -> None:
    """A case that computes a loss with build(library)(x), goes backward and reads the gradient."""

    def set_up(m: Any) -> Callable:
        x, loss_of = make(m, True), build(m)

        def step() -> float:
            x.grad = None
            loss_of(x).backward()
            return x.grad.reshape(-1)[0].item()

        return step

    set_up.__name__, set_up.__doc__ = name, what
    case(budget)(set_up)


def _weighed(make: Callable, layer_of: Callable) -> Callable:
    """The loss sum(layer(x) * weights), which gives every element of the result a gradient of its own."""

    def build(m: Any) -> Callable:
        layer, weights = layer_of(m), make(m)
        return lambda x: (layer(x) * weights).sum()

    return build


_LAYERS: dict[str, tuple[Callable, str, Callable]] = {
    "softmax_rows": (_matrix, "softmax over rows", lambda m: lambda x: x.softmax(1)),
    "softmax_columns": (_matrix, "softmax over columns", lambda m: lambda x: x.softmax(0)),
    "log_softmax": (_matrix, "log-softmax over rows", lambda m: lambda x: x.log_softmax(1)),
    "layer_norm": (_matrix, "layer norm", lambda m: m.nn.LayerNorm(1024)),
    "rms_norm": (_matrix, "RMS norm", lambda m: m.nn.RMSNorm(1024)),
    "batch_norm": (_images, "batch norm in training", lambda m: m.nn.BatchNorm2d(64)),
    "group_norm": (_images, "group norm", lambda m: m.nn.GroupNorm(8, 64)),
}
for _name, (_make, _what, _layer) in _LAYERS.items():
    _forward(
        _name, 0.7, f"{_what}, 16 MB.", lambda m, make=_make, layer=_layer: (layer(m), make(m)), lambda m, x: x[0](x[1])
    )
    _with_backward(f"{_name}_backward", 0.7, f"{_what}, 16 MB, and back.", _make, _weighed(_make, _layer))


def _cross_entropy(m: Any) -> Callable:
    target = m.randint(0, 1024, (4096,))
    return lambda x: m.nn.functional.cross_entropy(x, target)


_forward(
    "cross_entropy", 0.7, "Cross-entropy of 4096 x 1024.", lambda m: (_cross_entropy(m), _matrix(m)),
    lambda m, x: x[0](x[1]),
)  # fmt: skip
_with_backward("cross_entropy_backward", 0.7, "Cross-entropy of 4096 x 1024, and back.", _matrix, _cross_entropy)
_forward("batch_norm_inference", 0.7, "batch norm in inference, 16 MB.",
         lambda m: (m.nn.BatchNorm2d(64).eval(), _images(m)), lambda m, x: x[0](x[1]))  # fmt: skip

for _name, _what, _function in (
    ("sum_all", "Sum of all", lambda m, x: x.sum()),
    ("amax_rows", "amax over rows", lambda m, x: x.amax(1)),
    ("max_rows", "max over rows, with its place,", lambda m, x: x.max(1)[0]),
    ("logsumexp_rows", "logsumexp over rows", lambda m, x: x.logsumexp(1)),
    ("var_all", "Variance of all", lambda m, x: x.var()),
    ("var_rows", "Variance over rows", lambda m, x: x.var(1)),
    ("var_columns", "Variance over columns", lambda m, x: x.var(0)),
    ("argmax_all", "argmax of all", lambda m, x: x.argmax()),
    ("argmax_rows", "argmax over rows", lambda m, x: x.argmax(1)),
    ("argmax_columns", "argmax over columns", lambda m, x: x.argmax(0)),
    ("cumsum_rows", "cumsum along rows", lambda m, x: x.cumsum(1)),
    ("cumsum_columns", "cumsum along columns", lambda m, x: x.cumsum(0)),
):
    _forward(_name, 1.0, f"{_what} of 4096 x 1024.", _matrix, _function)
_forward("sum_channels", 1.0, "Sum over all but the channels, 16 MB.", _images, lambda m, x: x.sum((0, 2, 3)))
_forward("mean_images", 1.0, "Mean over each image, 16 MB.", _images, lambda m, x: x.mean((2, 3)))
_forward("sum_middle", 1.0, "Sum over the middle dimension of 64 x 256 x 256.", lambda m: m.randn(64, 256, 256),
         lambda m, x: x.sum(1))  # fmt: skip
