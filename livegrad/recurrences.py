"""Recurrent networks as functions, under the names and with the arguments that they have directly in ``torch``.

The weights come as a flat list, layer by layer and direction by direction: what the module `nn.LSTM` calls
``weight_ih``, ``weight_hh``, then, with biases, ``bias_ih``, ``bias_hh``, and for a projected LSTM ``weight_hr``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import livegrad

from .nn import functional as F
from .ops import recurrent
from .overriding import asks
from .tensor import Tensor

__all__ = [
    "gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell", "through_layers",
]  # fmt: skip


def through_layers(
    mode: str, x: Tensor, h: Tensor, c: Tensor | None, weights: Sequence, *, directions: int, dropout: float = 0.0,
    batch_first: bool = False, sizes: tuple | None = None,
) -> tuple:  # fmt: skip
    """All layers and directions of a network: (output, h, c), c is None but for an LSTM.

    mode, x, batch_first, sizes: see `ops.recurrent.layer`. h, c: (layers * directions, B, units). weights: a sequence
    of tensors for each layer and direction. dropout: the share of what goes from one layer to the next that is zeroed.
    """
    hs, cs = h.unbind(0), None if c is None else c.unbind(0)  # type: ignore[attr-defined]
    layers = len(weights) // directions
    last_h, last_c = [], []
    for layer in range(layers):
        outs = []
        for direction in range(directions):
            k = layer * directions + direction
            y, nh, nc = recurrent.layer(
                mode, x, hs[k], None if cs is None else cs[k], tuple(weights[k]), reverse=direction == 1,
                batch_first=batch_first, sizes=sizes,
            )  # fmt: skip
            outs.append(y)
            last_h.append(nh)
            last_c.append(nc)
        x = outs[0] if directions == 1 else livegrad.cat(outs, -1)  # type: ignore[attr-defined]
        if dropout and layer < layers - 1:
            # Drawn in the order of steps, whatever the layout.
            x = x.transpose(0, 1).contiguous() if batch_first else x  # type: ignore[attr-defined]
            x = F.dropout(x, dropout, True)
            x = x.transpose(0, 1) if batch_first else x  # type: ignore[attr-defined]
    h = last_h[0].unsqueeze(0) if len(last_h) == 1 else livegrad.stack(last_h)  # type: ignore[attr-defined]
    if c is not None:
        c = last_c[0].unsqueeze(0) if len(last_c) == 1 else livegrad.stack(last_c)  # type: ignore[attr-defined]
    return x, h, c


# --- networks -----------------------------------------------------------------------------------------------------


def _grouped(name: str, params: Sequence, has_biases: bool, count: int, projected: bool) -> list[list]:
    """The flat list of weights as one list for each layer and direction."""
    each = 2 + 2 * bool(has_biases) + projected
    if len(params) != each * count:
        raise RuntimeError(
            f"{name}(): expected {each * count} weights, {each} for each of {count} layers and directions, "
            f"but got {len(params)}"
        )
    return [list(params[i : i + each]) for i in range(0, len(params), each)]


def _states_fit(name: str, h: Tensor, count: int) -> None:
    if h.dim() != 3 or h.size(0) != count:
        raise RuntimeError(
            f"{name}(): a state is (layers * directions, batch, units) with {count} layers and directions in all, "
            f"but has shape {list(h.shape)}"
        )


def _run(
    name: str, mode: str, input: Any, sizes: Any, states: Sequence, params: Sequence, has_biases: bool,  # noqa: A002
    num_layers: int, dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple:  # fmt: skip
    directions = 2 if bidirectional else 1
    count = num_layers * directions
    for state in states:
        _states_fit(name, state, count)
    projected = len(states) == 2 and states[0].size(2) != states[1].size(2)
    weights = _grouped(name, params, has_biases, count, projected)
    return through_layers(
        mode, input, states[0], states[1] if len(states) == 2 else None, weights, directions=directions,
        dropout=dropout if train else 0.0, batch_first=batch_first,
        sizes=None if sizes is None else tuple(sizes.tolist()),
    )  # fmt: skip


def lstm(*args: Any, **kwargs: Any) -> tuple:
    """The layers of `nn.LSTM` as a function: (output, h, c).

    ``lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``: input (T, B, n),
    or (B, T, n) with batch_first; hx: the states (h, c), each (layers * directions, B, units); params: the weights,
    layer by layer. ``lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)``: the
    same of packed sequences. dropout counts while `train` is true. Raises RuntimeError where the number of weights or
    a state's shape does not fit.

    >>> import livegrad
    >>> from livegrad import nn
    >>> net, x, zeros = nn.LSTM(3, 4), livegrad.rand(5, 2, 3), livegrad.zeros(1, 2, 4)
    >>> y, h, c = livegrad.lstm(x, (zeros, zeros), list(net.parameters()), True, 1, 0.0, False, False, False)
    >>> bool((y == net(x)[0]).all()), tuple(h.shape)
    (True, (1, 2, 4))
    """
    packed = "batch_sizes" in kwargs or (len(args) > 1 and isinstance(args[1], Tensor))
    return (_lstm_packed if packed else _lstm)(*args, **kwargs)


def _lstm(
    input: Tensor, hx: Sequence, params: Sequence, has_biases: bool, num_layers: int, dropout: float,  # noqa: A002
    train: bool, bidirectional: bool, batch_first: bool,
) -> tuple:  # fmt: skip
    _pair(hx)
    return _run("lstm", "LSTM", input, None, hx, params, has_biases, num_layers, dropout, train, bidirectional,
                batch_first)  # fmt: skip


def _lstm_packed(
    data: Tensor, batch_sizes: Tensor, hx: Sequence, params: Sequence, has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool,
) -> tuple:  # fmt: skip
    _pair(hx)
    return _run("lstm", "LSTM", data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional,
                False)  # fmt: skip


def _pair(hx: Any) -> None:
    if len(hx) != 2:
        raise RuntimeError(f"lstm expects two hidden states, h and c, but got {len(hx)}")


def _network(name: str, mode: str, like: str) -> Callable:
    def plain(
        input: Tensor, hx: Tensor, params: Sequence, has_biases: bool, num_layers: int, dropout: float,  # noqa: A002
        train: bool, bidirectional: bool, batch_first: bool,
    ) -> tuple:  # fmt: skip
        return _run(name, mode, input, None, (hx,), params, has_biases, num_layers, dropout, train, bidirectional,
                    batch_first)[:2]  # fmt: skip

    def of_packed(
        data: Tensor, batch_sizes: Tensor, hx: Tensor, params: Sequence, has_biases: bool, num_layers: int,
        dropout: float, train: bool, bidirectional: bool,
    ) -> tuple:  # fmt: skip
        return _run(name, mode, data, batch_sizes, (hx,), params, has_biases, num_layers, dropout, train,
                    bidirectional, False)[:2]  # fmt: skip

    def network(*args: Any, **kwargs: Any) -> tuple:
        packed = "batch_sizes" in kwargs or (len(args) > 2 and isinstance(args[2], Tensor))
        return (of_packed if packed else plain)(*args, **kwargs)

    for function in (plain, of_packed, network):
        function.__name__ = function.__qualname__ = name
    network.__doc__ = (
        f"The layers of {like} as a function: (output, h). Arguments are those of `lstm`, but for hx, which is one "
        "state (layers * directions, B, units)."
    )
    return network


gru = _network("gru", "GRU", "`nn.GRU`")
rnn_tanh = _network("rnn_tanh", "RNN_TANH", "`nn.RNN` with tanh")
rnn_relu = _network("rnn_relu", "RNN_RELU", "`nn.RNN` with relu")


# --- cells --------------------------------------------------------------------------------------------------------


def lstm_cell(
    input: Tensor, hx: Sequence, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,  # noqa: A002
    b_hh: Tensor | None = None,
) -> tuple:  # fmt: skip
    """One step of `nn.LSTMCell` as a function: (h, c).

    input (B, n), hx the states (h, c), each (B, units); w_ih (4 * units, n), w_hh (4 * units, units), biases
    (4 * units). Raises RuntimeError where shapes do not fit.

    >>> import livegrad
    >>> from livegrad import nn
    >>> cell, x, zeros = nn.LSTMCell(3, 4), livegrad.rand(2, 3), livegrad.zeros(2, 4)
    >>> h, c = livegrad.lstm_cell(x, (zeros, zeros), *cell.parameters())
    >>> bool((h == cell(x)[0]).all())
    True
    """
    if len(hx) != 2:
        raise RuntimeError(f"lstm_cell expects two hidden states, h and c, but got {len(hx)}")
    _cell_fits("lstm_cell", input, hx, w_ih, w_hh, 4)
    return recurrent.cell("LSTM", input, hx[0], hx[1], (w_ih, w_hh, b_ih, b_hh))


def _cell_fits(name: str, x: Tensor, states: Sequence, w_ih: Tensor, w_hh: Tensor, parts: int) -> None:
    if x.size(-1) != w_ih.size(1):
        raise RuntimeError(f"{name}: input has inconsistent input_size: got {x.size(-1)} expected {w_ih.size(1)}")
    for k, state in enumerate(states):
        if x.dim() == 2 and state.dim() == 2 and x.size(0) != state.size(0):
            raise RuntimeError(
                f"{name}: Input batch size {x.size(0)} doesn't match hidden{k} batch size {state.size(0)}"
            )
        if state.size(-1) * parts != w_hh.size(0):
            raise RuntimeError(
                f"{name}: hidden{k} has inconsistent hidden_size: got {state.size(-1)}, "
                f"expected {w_hh.size(0) // parts}"
            )


def _cell(name: str, mode: str, parts: int, like: str) -> Callable:
    def cell(
        input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,  # noqa: A002
        b_hh: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        _cell_fits(name, input, (hx,), w_ih, w_hh, parts)
        return recurrent.cell(mode, input, hx, None, (w_ih, w_hh, b_ih, b_hh))[0]

    cell.__name__ = cell.__qualname__ = name
    cell.__doc__ = (
        f"One step of {like} as a function: the new state (B, units), from input (B, n) and the state (B, units).\n\n"
        f"w_ih ({parts} * units, n), w_hh ({parts} * units, units), biases ({parts} * units)."
    )
    return cell


gru_cell = _cell("gru_cell", "GRU", 3, "`nn.GRUCell`")
rnn_tanh_cell = _cell("rnn_tanh_cell", "RNN_TANH", 1, "`nn.RNNCell` with tanh")
rnn_relu_cell = _cell("rnn_relu_cell", "RNN_RELU", 1, "`nn.RNNCell` with relu")

for _name in __all__:
    if _name != "through_layers":
        globals()[_name] = asks(globals()[_name])
