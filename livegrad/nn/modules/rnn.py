"""Recurrent layers: RNN, LSTM and GRU, and their cells."""

import math
import numbers

import livegrad
from livegrad import recurrences
from livegrad.ops import recurrent
from livegrad.overriding import OVERRIDES

from ...site import warn
from .. import init
from ..module import Module
from ..parameter import Parameter
from ..utils.rnn import PackedSequence

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

_PARTS = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _draw(module):
    """All parameters anew, uniform in ±1/√hidden_size."""
    bound = 1 / math.sqrt(module.hidden_size) if module.hidden_size > 0 else 0
    for weight in module.parameters():
        init.uniform_(weight, -bound, bound)


# These are not compiled: a mode that follows a module is told of the sizes that it reads.
class RNNBase(Module):
    """What RNN, LSTM and GRU share: the parameters, the checks, and going through layers and directions.

    Parameters are called as in PyTorch: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, and so on
    for each layer, with ``_reverse`` for the second direction and ``weight_hr_l0`` for projections.
    """

    __constants__ = [
        "mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
        "proj_size",
    ]  # fmt: skip

    def __init__(
        self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, proj_size=0, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            )
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int):
                raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        for name, chosen in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(chosen, bool):
                raise TypeError(f"{name} should be of type bool, got: {type(chosen).__name__}")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if mode not in _PARTS:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        directions = 2 if bidirectional else 1
        out, rows = proj_size or hidden_size, _PARTS[mode] * hidden_size
        self._all_weights = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[:directions]:
                columns = input_size if layer == 0 else out * directions
                shapes = {"weight_ih": (rows, columns), "weight_hh": (rows, out)}
                if bias:
                    shapes["bias_ih"] = shapes["bias_hh"] = (rows,)
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = []
                for name, shape in shapes.items():
                    names.append(f"{name}_l{layer}{suffix}")
                    setattr(self, names[-1], Parameter(livegrad.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all parameters anew, uniform in ±1/√hidden_size."""
        _draw(self)

    def _torch_attributes(self):
        """What PyTorch's class keeps beside these attributes, for files that it is to read."""
        names = [name for names in self._all_weights for name in names]
        return {"_flat_weights_names": names, "_flat_weights": [getattr(self, name) for name in names]}

    def flatten_parameters(self):
        """Nothing: the weights are read where they are."""

    @property
    def all_weights(self):
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text

    def check_input(self, input, batch_sizes):
        """Raise where the input's dtype, rank or last size is not what the layer takes."""
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype is not weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )

    def get_expected_hidden_size(self, batch, size):
        """The shape of a state."""
        return (self.num_layers * (2 if self.bidirectional else 1), batch, size)

    def check_hidden_size(self, hx, expected, msg="Expected hidden size {}, got {}"):
        """Raise where a state's shape is not the expected one."""
        if tuple(hx.size()) != expected:
            raise RuntimeError(msg.format(expected, list(hx.size())))

    def _run(self, input, batch_sizes, h, c):
        """All layers and directions: (output, h, c)."""
        if OVERRIDES.on:  # which are told of the function of the main namespace
            return self._run_announced(input, batch_sizes, h, c)
        sizes = None if batch_sizes is None else tuple(batch_sizes.tolist())
        return recurrences.through_layers(
            self.mode, input, h, c, self.all_weights, directions=2 if self.bidirectional else 1,
            dropout=self.dropout if self.training else 0.0, batch_first=self.batch_first and sizes is None, sizes=sizes,
        )  # fmt: skip

    def _run_announced(self, input, batch_sizes, h, c):
        function = getattr(recurrences, self.mode.lower())
        weights = [w for each in self.all_weights for w in each]
        rest = (weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        states = h if c is None else (h, c)
        if batch_sizes is None:
            made = function(input, states, *rest, self.batch_first)
        else:
            made = function(input, batch_sizes, states, *rest)
        return (*made, None)[:3]

    def _prepared(self, input, states, names):
        """The input as a batch, the states as (layers * directions, batch, size), and how to undo it."""
        if isinstance(input, PackedSequence):
            data, batch_sizes, order, back = input
            batch = int(batch_sizes[0])
            if states is not None and order is not None:
                states = tuple(s.index_select(1, order) for s in states)
            batched = True
        else:
            data, batch_sizes, back = input, None, None
            if input.dim() not in (2, 3):
                raise ValueError(f"{self._kind}: Expected input to be 2D or 3D, got {input.dim()}D instead")
            batched = input.dim() == 3
            expected = 3 if batched else 2
            if states is not None and any(s.dim() != expected for s in states):
                found = ", ".join(f"{s.dim()}-D" for s in states)
                found = f"({found}) tensors" if len(states) > 1 else f"{found} tensor"
                kind = "batched" if batched else "unbatched"
                raise RuntimeError(
                    f"For {kind} {expected}-D input, {names} should also be {expected}-D but got {found}"
                )
            if not batched:
                data = input.unsqueeze(0 if self.batch_first else 1)
                states = None if states is None else tuple(s.unsqueeze(1) for s in states)
            batch = data.size(0 if self.batch_first else 1)
        self.check_input(data, batch_sizes)
        return data, batch_sizes, states, batch, batched, back

    def _finished(self, original, y, states, batched, back):
        if isinstance(original, PackedSequence):
            y = PackedSequence(y, *original[1:])
            if back is not None:
                states = tuple(s.index_select(1, back) for s in states)
        elif not batched:
            y = y.squeeze(0 if self.batch_first else 1)
            states = tuple(s.squeeze(1) for s in states)
        return y, states


class _OneState(RNNBase):
    """RNN and GRU: their state is one tensor."""

    def forward(self, input, hx=None):
        data, batch_sizes, states, batch, batched, back = self._prepared(input, None if hx is None else (hx,), "hx")
        shape = self.get_expected_hidden_size(batch, self.hidden_size)
        h = livegrad.zeros(shape, dtype=data.dtype, device=data.device) if states is None else states[0]
        self.check_hidden_size(h, shape)
        y, h, _ = self._run(data, batch_sizes, h, None)
        y, (h,) = self._finished(input, y, (h,), batched, back)
        return y, h


class RNN(_OneState):
    """Elman's network: ``h = tanh(x @ W_ih.T + b_ih + h @ W_hh.T + b_hh)``, or with relu, step by step.

    Takes (T, B, input_size), with ``batch_first`` (B, T, input_size), without a batch (T, input_size), or a
    PackedSequence, and the first state (layers * directions, B, hidden_size), zeros if it is not given. Returns
    the states of the last layer at every step, and the last state of every layer.

    >>> import livegrad
    >>> from livegrad import nn
    >>> y, h = nn.RNN(3, 4, num_layers=2)(livegrad.zeros(5, 2, 3))
    >>> tuple(y.shape), tuple(h.shape)
    ((5, 2, 4), (2, 2, 4))
    """

    _kind = "RNN"

    def __init__(self, *args, **kwargs):
        if kwargs.get("proj_size"):
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self_nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self_nonlinearity = kwargs.pop("nonlinearity", "tanh")
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if self_nonlinearity not in modes:
            raise ValueError(f"Unknown nonlinearity '{self_nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(modes[self_nonlinearity], *args, **kwargs)
        self.nonlinearity = self_nonlinearity


class GRU(_OneState):
    """Gated recurrent units. Inputs and results are those of `RNN`.

    ``r, z = sigmoid(x @ W_i.T + b_i + h @ W_h.T + b_h)``, ``n = tanh(x @ W_in.T + b_in + r * (h @ W_hn.T + b_hn))``,
    ``h = (1 - z) * n + z * h``.
    """

    _kind = "GRU"

    def __init__(self, *args, **kwargs):
        if kwargs.get("proj_size"):
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory: ``c = f * c + i * g``, ``h = o * tanh(c)``, with gates i, f, g, o of input and state.

    Takes what `RNN` takes, with a pair of states (h, c), and returns the output and such a pair. With ``proj_size``, h
    is projected to that size by ``weight_hr``.

    >>> import livegrad
    >>> from livegrad import nn
    >>> y, (h, c) = nn.LSTM(3, 4, bidirectional=True, batch_first=True)(livegrad.zeros(2, 5, 3))
    >>> tuple(y.shape), tuple(h.shape), tuple(c.shape)
    ((2, 5, 8), (2, 2, 4), (2, 2, 4))
    """

    _kind = "LSTM"

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def forward(self, input, hx=None):
        states = None if hx is None else (hx[0], hx[1])
        data, batch_sizes, states, batch, batched, back = self._prepared(input, states, "hx and cx")
        shapes = [
            self.get_expected_hidden_size(batch, n) for n in (self.proj_size or self.hidden_size, self.hidden_size)
        ]
        if states is None:
            states = tuple(livegrad.zeros(s, dtype=data.dtype, device=data.device) for s in shapes)
        for k, (state, shape) in enumerate(zip(states, shapes)):
            self.check_hidden_size(state, shape, f"Expected hidden[{k}] size {{}}, got {{}}")
        y, h, c = self._run(data, batch_sizes, *states)
        return self._finished(input, y, (h, c), batched, back)


class RNNCellBase(Module):
    """What the cells share."""

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(livegrad.empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(livegrad.empty((rows, hidden_size), device=device, dtype=dtype))
        if bias:
            self.bias_ih = Parameter(livegrad.empty(rows, device=device, dtype=dtype))
            self.bias_hh = Parameter(livegrad.empty(rows, device=device, dtype=dtype))
        else:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all parameters anew, uniform in ±1/√hidden_size."""
        _draw(self)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def _step(self, mode, input, states):
        """One step: the new states, with or without a batch as the input is."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for s in states or ():
            if s.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected hidden to be 1D or 2D, got {s.dim()}D instead")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.size(-1)} expected {self.input_size}")
        if states is None:
            zeros = livegrad.zeros((*input.shape[:-1], self.hidden_size), dtype=input.dtype, device=input.device)
            states = (zeros, zeros)
        for k, s in enumerate(states):
            if s.size(-1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{k} has inconsistent hidden_size: got {s.size(-1)}, expected {self.hidden_size}"
                )
            if s.dim() == input.dim() == 2 and s.size(0) != input.size(0):
                raise RuntimeError(f"Input batch size {input.size(0)} doesn't match hidden{k} batch size {s.size(0)}")
        if OVERRIDES.on:  # which are told of the function of the main namespace
            made = getattr(recurrences, f"{mode.lower()}_cell")(
                input, states if mode == "LSTM" else states[0], self.weight_ih, self.weight_hh, self.bias_ih,
                self.bias_hh,
            )  # fmt: skip
            return made if mode == "LSTM" else (made, None)
        return recurrent.cell(
            mode, input, states[0], states[1] if mode == "LSTM" else None,
            (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh),
        )  # fmt: skip


class RNNCell(RNNCellBase):
    """One step of `RNN`: (B, input_size) and the state (B, hidden_size) give the new state."""

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        mode = "RNN_TANH" if self.nonlinearity == "tanh" else "RNN_RELU"
        return self._step(mode, input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of `LSTM`: (B, input_size) and the states (h, c), each (B, hidden_size), give new ones.

    >>> import livegrad
    >>> from livegrad import nn
    >>> h, c = nn.LSTMCell(3, 4)(livegrad.zeros(2, 3))
    >>> tuple(h.shape), tuple(c.shape)
    ((2, 4), (2, 4))
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        return self._step("LSTM", input, None if hx is None else tuple(hx))


class GRUCell(RNNCellBase):
    """One step of `GRU`: (B, input_size) and the state (B, hidden_size) give the new state."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step("GRU", input, None if hx is None else (hx,))[0]
