"""The transformer: its layers, stacks of them, and the whole with encoder and decoder."""

import copy

import livegrad

from .. import functional as F
from .. import init
from ..module import Module
from .attention import MultiheadAttention
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .normalization import LayerNorm

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
]  # fmt: skip


def _get_activation_fn(name):
    if callable(name):
        return name
    if name not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {name}")
    return getattr(F, name)


def _copies(module, count):
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


def _subsequent_mask(size, dtype=None, device=None):
    """Minus infinity above the diagonal, zeros elsewhere."""
    return livegrad.full((size, size), float("-inf"), dtype=dtype, device=device).triu(1)


def _is_causal(mask, given, size):
    """Whether a mask hides just what comes later: as the caller says, or as it looks."""
    if given is not None or mask is None:
        return bool(given)
    if tuple(mask.shape[-2:]) != (size, size) or mask.dim() != 2 or not mask.is_floating_point():
        return False
    return bool((mask == _subsequent_mask(size, mask.dtype, mask.device)).all())


def _checked(mask, name, dtype):
    return F.attention.canonical_mask(mask, name, dtype)


class _Layer(Module):
    """What an encoder's and a decoder's layer share: attention and two linear maps, each added to its input."""

    def __init__(
        self, d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
        options, attentions,
    ):  # fmt: skip
        super().__init__()
        for name in attentions:
            setattr(
                self, name,
                MultiheadAttention(d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first, **options),
            )  # fmt: skip
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **options)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **options)
        self.norm_first = norm_first
        count = len(attentions) + 1
        for k in range(1, count + 1):
            setattr(self, f"norm{k}", LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **options))
        for k in range(1, count + 1):
            setattr(self, f"dropout{k}", Dropout(dropout))
        self.activation = _get_activation_fn(activation)

    def _torch_attributes(self):
        """What PyTorch's class keeps beside these attributes, for files that it is to read: 0 for no shortcut."""
        return {"activation_relu_or_gelu": 0}

    def _attended(self, attend, x, memory, mask, padding, causal):
        return attend(
            x, memory, memory, attn_mask=mask, key_padding_mask=padding, is_causal=causal, need_weights=False
        )[0]

    def _mapped(self, x):
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def _added(self, x, part, norm, dropout):
        """x plus a part of itself, normalised before or after."""
        if self.norm_first:
            return x + dropout(part(norm(x)))
        return norm(x + dropout(part(x)))


class TransformerEncoderLayer(_Layer):
    """Self-attention and two linear maps, each added to its input and normalised: (L, B, d_model) to the same.

    ``norm_first`` normalises before each part, not after. ``batch_first`` takes (B, L, d_model).

    >>> import livegrad
    >>> from livegrad import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> tuple(layer(livegrad.zeros(3, 5, 8)).shape)
    (3, 5, 8)
    """

    __constants__ = ["norm_first"]

    def __init__(
        self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=F.relu, layer_norm_eps=1e-5,
        batch_first=False, norm_first=False, bias=True, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
            {"device": device, "dtype": dtype}, ("self_attn",),
        )  # fmt: skip

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        padding = _checked(src_key_padding_mask, "src_key_padding_mask", src.dtype)
        mask = _checked(src_mask, "src_mask", src.dtype)
        x = self._added(
            src, lambda x: self._attended(self.self_attn, x, x, mask, padding, is_causal), self.norm1, self.dropout1
        )
        return self._added(x, self._mapped, self.norm2, self.dropout2)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's result, and two linear maps, each added to its input and normalised."""

    __constants__ = ["norm_first"]

    def __init__(
        self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=F.relu, layer_norm_eps=1e-5,
        batch_first=False, norm_first=False, bias=True, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
            {"device": device, "dtype": dtype}, ("self_attn", "multihead_attn"),
        )  # fmt: skip

    def forward(
        self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None,
        tgt_is_causal=False, memory_is_causal=False,
    ):  # fmt: skip
        x = self._added(
            tgt, lambda x: self._attended(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal),
            self.norm1, self.dropout1,
        )  # fmt: skip
        x = self._added(
            x, lambda x: self._attended(
                self.multihead_attn, x, memory, memory_mask, memory_key_padding_mask, memory_is_causal
            ), self.norm2, self.dropout2,
        )  # fmt: skip
        return self._added(x, self._mapped, self.norm3, self.dropout3)


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer, and a normalisation of the result if one is given."""

    __constants__ = ["norm"]

    def __init__(self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True):
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        padding = _checked(src_key_padding_mask, "src_key_padding_mask", src.dtype)
        mask = _checked(mask, "mask", src.dtype)
        first = self.layers[0].self_attn.batch_first if len(self.layers) else False
        size = src.size(1 if first and src.dim() == 3 else 0)
        causal = _is_causal(mask, is_causal, size)
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=causal, src_key_padding_mask=padding)
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer, and a normalisation of the result if one is given."""

    __constants__ = ["norm"]

    def __init__(self, decoder_layer, num_layers, norm=None):
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None,
        tgt_is_causal=None, memory_is_causal=False,
    ):  # fmt: skip
        first = self.layers[0].self_attn.batch_first if len(self.layers) else False
        causal = _is_causal(tgt_mask, tgt_is_causal, tgt.size(1 if first and tgt.dim() == 3 else 0))
        x = tgt
        for layer in self.layers:
            x = layer(
                x, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """Encoder and decoder: ``forward(src, tgt)`` of (S, B, d_model) and (T, B, d_model) gives (T, B, d_model).

    >>> import livegrad
    >>> from livegrad import nn
    >>> model = nn.Transformer(8, 2, 1, 1, 16)
    >>> mask = model.generate_square_subsequent_mask(4)
    >>> tuple(model(livegrad.zeros(5, 3, 8), livegrad.zeros(4, 3, 8), tgt_mask=mask).shape)
    (4, 3, 8)
    """

    def __init__(
        self, d_model=512, nhead=8, num_encoder_layers=6, num_decoder_layers=6, dim_feedforward=2048, dropout=0.1,
        activation=F.relu, custom_encoder=None, custom_decoder=None, layer_norm_eps=1e-5, batch_first=False,
        norm_first=False, bias=True, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        options = {"device": device, "dtype": dtype}
        shared = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype,
        )  # fmt: skip
        if custom_encoder is not None:
            self.encoder = custom_encoder
        else:
            layer = TransformerEncoderLayer(*shared)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **options)
            self.encoder = TransformerEncoder(layer, num_encoder_layers, norm)
        if custom_decoder is not None:
            self.decoder = custom_decoder
        else:
            layer = TransformerDecoderLayer(*shared)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **options)
            self.decoder = TransformerDecoder(layer, num_decoder_layers, norm)
        for weight in self.parameters():
            if weight.dim() > 1:
                init.xavier_uniform_(weight)
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self, src, tgt, src_mask=None, tgt_mask=None, memory_mask=None, src_key_padding_mask=None,
        tgt_key_padding_mask=None, memory_key_padding_mask=None, src_is_causal=None, tgt_is_causal=None,
        memory_is_causal=False,
    ):  # fmt: skip
        batched = src.dim() == 3
        if batched and src.size(0 if self.batch_first else 1) != tgt.size(0 if self.batch_first else 1):
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz, device=None, dtype=None):
        """(sz, sz): minus infinity where a query would see what comes later, zeros elsewhere."""
        return _subsequent_mask(sz, dtype, device)
