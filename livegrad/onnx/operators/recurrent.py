"""Recurrent networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .table import translates

# The order of the gates in ONNX, by their places in PyTorch's.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def _arranged(w, kind: str, weight, units: int):
    """A weight, or bias, with its gates in ONNX's order."""
    order = _GATES[kind]
    if len(order) == 1:
        return weight
    parts = w.split(weight, [units] * len(order), 0)
    return w("Concat", *(parts[k] for k in order), axis=0)


def _biases(w, kind: str, given, units: int):
    """Both biases of a layer as one vector; None where there are none."""
    return w("Concat", *(_arranged(w, kind, b, units) for b in given), axis=0) if given else None


def _network(kind: str, activation: str | None = None) -> Callable:
    def translation(w, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first=False):
        if dropout and train:
            raise w.refuse("in training mode it draws numbers; export the model in evaluation mode")
        if isinstance(has_biases, (list, tuple)):
            raise w.refuse("packed sequences")
        states = hx if kind == "LSTM" else (hx,)
        each, directions = (4 if has_biases else 2), 2 if bidirectional else 1
        if len(params) != each * num_layers * directions:
            raise w.refuse("projections")
        units = states[0].shape[-1]
        x = w.transposed(input, 0, 1, 3) if batch_first else input
        first = [w.split(s, [directions] * num_layers, 0) for s in states]
        last = []
        for layer in range(num_layers):
            groups = [params[k * each : (k + 1) * each] for k in range(layer * directions, (layer + 1) * directions)]
            stacked = [
                w("Concat", *(w.unsqueeze(p, 0) for p in parts), axis=0)
                for parts in (
                    [_arranged(w, kind, g[0], units) for g in groups], [_arranged(w, kind, g[1], units) for g in groups]
                )
            ]  # fmt: skip
            biases = None
            if has_biases:
                biases = w("Concat", *(w.unsqueeze(_biases(w, kind, g[2:], units), 0) for g in groups), axis=0)
            made = w(
                kind, x, *stacked, biases, None, *(f[layer] for f in first), results=3 if kind == "LSTM" else 2,
                hidden_size=units, direction="bidirectional" if bidirectional else None,
                linear_before_reset=1 if kind == "GRU" else None,
                activations=[activation] * directions if activation else None,
            )  # fmt: skip
            # (T, directions, B, units) as (T, B, directions * units)
            x = w("Reshape", w("Transpose", made[0], perm=[0, 2, 1, 3]), np.array([0, 0, -1]))  # 0: as it is
            last.append(made[1:])
        ends = [w("Concat", *(m[k] for m in last), axis=0) for k in range(len(states))]
        return (w.transposed(x, 0, 1, 3) if batch_first else x, *ends)

    return translation


translates("lstm")(_network("LSTM"))
translates("gru")(_network("GRU"))
translates("rnn_tanh")(_network("RNN", "Tanh"))
translates("rnn_relu")(_network("RNN", "Relu"))


def _cell(kind: str, activation: str | None = None) -> Callable:
    def translation(w, input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
        states = hx if kind == "LSTM" else (hx,)
        units = states[0].shape[-1]
        biases = _biases(w, kind, [b for b in (b_ih, b_hh) if b is not None], units)
        batched = input.rank == 2
        x = input if batched else w.unsqueeze(input, 0)
        given = [s if batched else w.unsqueeze(s, 0) for s in states]
        made = w(
            kind, w.unsqueeze(x, 0), *(w.unsqueeze(_arranged(w, kind, p, units), 0) for p in (w_ih, w_hh)),
            None if biases is None else w.unsqueeze(biases, 0), None, *(w.unsqueeze(s, 0) for s in given),
            results=3 if kind == "LSTM" else 2, hidden_size=units, linear_before_reset=1 if kind == "GRU" else None,
            activations=[activation] if activation else None,
        )  # fmt: skip
        ends = [w.squeeze(m, 0) if batched else w.squeeze(m, 0, 1) for m in made[1:]]
        return tuple(ends) if kind == "LSTM" else ends[0]

    return translation


translates("lstm_cell")(_cell("LSTM"))
translates("gru_cell")(_cell("GRU"))
translates("rnn_tanh_cell")(_cell("RNN", "Tanh"))
translates("rnn_relu_cell")(_cell("RNN", "Relu"))
