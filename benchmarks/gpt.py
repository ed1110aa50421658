"""A model of GPT's kind, for the cases that train one. `m` is the library."""

from __future__ import annotations

from typing import Any


def gpt(m: Any, width: int, heads: int, layers: int, length: int, letters: int, gelu: str = "none") -> Any:
    """A module whose call gives the loss of (letters, letters that follow); gelu: "none", or "tanh" for the approximate."""
    nn, F = m.nn, m.nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attend, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, h: Any) -> Any:
            n, t, _ = h.shape
            q, k, v = self.attend(self.before(h)).split(width, dim=2)
            q, k, v = (z.view(n, t, heads, width // heads).transpose(1, 2) for z in (q, k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + self.join(mixed.transpose(1, 2).reshape(n, t, width))
            return h + self.narrow(F.gelu(self.widen(self.after(h)), approximate=gelu))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(letters, width), nn.Embedding(length, width)
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters, bias=False)

        def forward(self, x: Any, y: Any) -> Any:
            h = self.token(x) + self.place(m.arange(x.shape[1], device=x.device))
            for block in self.blocks:
                h = block(h)
            return F.cross_entropy(self.head(self.norm(h)).view(-1, letters).float(), y.view(-1))

    return GPT()
