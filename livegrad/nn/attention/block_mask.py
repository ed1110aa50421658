"""Masks of attention that are a function of places, with a table of the blocks that hold something."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import livegrad
from livegrad import Tensor

from .. import functional as F
from .places import at_every_place

BLOCK = 128


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """The mask that lets everything through."""
    return batch.new_ones(size=(), dtype=livegrad.bool, device=batch.device)


def _sliced_mask_mod_error(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    raise RuntimeError("Cannot use mask_mod from a sliced BlockMask: its places are no longer those it was written for")


def or_masks(*mask_mods: Callable) -> Callable:
    """The mask that lets through what any of these does."""
    _require_functions(mask_mods)

    def or_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result = b.new_zeros((), dtype=livegrad.bool)
        for mask in mask_mods:
            result = result | mask(b, h, q_idx, kv_idx)
        return result

    return or_mask


def and_masks(*mask_mods: Callable) -> Callable:
    """The mask that lets through what all of these do."""
    _require_functions(mask_mods)

    def and_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result = b.new_ones((), dtype=livegrad.bool)
        for mask in mask_mods:
            result = result & mask(b, h, q_idx, kv_idx)
        return result

    return and_mask


def _require_functions(mask_mods: tuple) -> None:
    if not all(callable(mask) for mask in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")


def create_mask(mod_fn: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None) -> Tensor:
    """What a function of places makes, at every place: (B, H, Q_LEN, KV_LEN).

    mod_fn: a mask, of (batch, head, query, key), or a modification of scores, of (score, batch, head, query, key),
    which gets a score of 0. B, H: 1 if None. Raises AssertionError for a function of other arguments.

    >>> from livegrad.nn.attention.flex_attention import create_mask
    >>> create_mask(lambda b, h, q, k: q >= k, 1, 1, 2, 3).int()
    tensor([[[[1, 0, 0],
              [1, 1, 0]]]], dtype=torch.int32)
    """
    B, H = B or 1, H or 1
    if _arguments(mod_fn) == 5:
        score = livegrad.zeros(B, H, Q_LEN, KV_LEN, device=device)
        return at_every_place(mod_fn, (B, H, Q_LEN, KV_LEN), score.device, score)
    return at_every_place(mod_fn, (B, H, Q_LEN, KV_LEN), livegrad.device(device or "cpu"))


def _arguments(mod_fn: Callable) -> int:
    """How many places and scores a function takes: 4 for a mask, 5 for a modification of scores."""
    import inspect

    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(mod_fn).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 4
    found = sum(p.default is inspect.Parameter.empty and p.kind in kinds for p in parameters)
    if found not in (4, 5):
        raise AssertionError(
            "mod_fn takes (batch, head, query, key) for a mask, or (score, batch, head, query, key) for scores; this "
            f"one has {found} arguments without a default"
        )
    return found


def _blocks_of(mask: Tensor, size: tuple[int, int], separate_full: bool) -> tuple[Tensor, Tensor | None]:
    """For each block of a mask whether it lets some through, and whether all (int8); blocks at the end are padded."""
    rows, columns = size
    mask = F.pad(mask, (0, -mask.shape[-1] % columns, 0, -mask.shape[-2] % rows))
    B, H, Q, KV = mask.shape
    filled = mask.view(B, H, Q // rows, rows, KV // columns, columns).sum(dim=[3, 5])
    if not separate_full:
        return (filled > 0).to(livegrad.int8), None
    full = filled == rows * columns
    return ((filled > 0) & ~full).to(livegrad.int8), full.to(livegrad.int8)


def _ordered(dense: Tensor) -> tuple[Tensor, Tensor]:
    """(how many blocks of each row hold something, the columns, those first)."""
    dense = dense.to(livegrad.int32)
    return dense.sum(dim=-1).to(livegrad.int32), dense.argsort(dim=-1, descending=True, stable=True).to(livegrad.int32)


def _dense(num_blocks: Tensor, indices: Tensor) -> Tensor:
    """The table of blocks, as int32, of what `_ordered` made of it."""
    columns = indices.shape[-1]
    present = (livegrad.arange(columns, device=indices.device) < num_blocks[..., None]).to(livegrad.int32)
    return livegrad.zeros_like(present).scatter(-1, indices.long(), present)


class BlockMask:
    """A mask that is a function of places, and which blocks of it hold something.

    kv_num_blocks (…, rows): how many blocks of each row are partly let through; kv_indices (…, rows, columns): which,
    those first. full_…: the same for blocks that are let through as a whole, or None. q_…: by column.
    `create_block_mask` makes one.
    """

    _TABLES = (
        "kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices",
        "full_q_num_blocks", "full_q_indices",
    )  # fmt: skip

    def __init__(
        self, seq_lengths: tuple[int, int], kv_num_blocks: Tensor, kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None, full_kv_indices: Tensor | None, q_num_blocks: Tensor | None,
        q_indices: Tensor | None, full_q_num_blocks: Tensor | None, full_q_indices: Tensor | None,
        BLOCK_SIZE: tuple[int, int] = (BLOCK, BLOCK), mask_mod: Callable = noop_mask,
    ) -> None:  # fmt: skip
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError("full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        if (full_q_num_blocks is None) != (full_q_indices is None):
            raise AssertionError("full_q_num_blocks and full_q_indices must be both provided or omitted")
        self.seq_lengths = seq_lengths
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.BLOCK_SIZE = BLOCK_SIZE
        self.mask_mod = mask_mod

    @classmethod
    def from_kv_blocks(
        cls, kv_num_blocks: Tensor, kv_indices: Tensor, full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None, BLOCK_SIZE: int | tuple[int, int] = BLOCK,
        mask_mod: Callable | None = None, seq_lengths: tuple[int, int] | None = None, compute_q_blocks: bool = True,
    ) -> BlockMask:  # fmt: skip
        """A mask of its tables by row; those by column follow from them. seq_lengths: of whole blocks if None."""
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        tables = [kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices]
        by_column: list = [None] * 4
        if compute_q_blocks:
            by_column[:2] = _ordered(_dense(kv_num_blocks, kv_indices).mT)
            if full_kv_num_blocks is not None and full_kv_indices is not None:
                by_column[2:] = _ordered(_dense(full_kv_num_blocks, full_kv_indices).mT)
        if seq_lengths is None:
            seq_lengths = (kv_indices.shape[-2] * size[0], kv_indices.shape[-1] * size[1])
        named: dict = dict(zip(cls._TABLES, [*tables, *by_column]))
        return cls(seq_lengths, **named, BLOCK_SIZE=size, mask_mod=mask_mod or noop_mask)

    @property
    def shape(self) -> tuple[int, ...]:
        """(batch, heads, queries, keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """How many places there are."""
        found = 1
        for n in self.shape:
            found *= n
        return found

    def sparsity(self) -> float:
        """How many per cent of the places are in blocks that hold nothing."""
        blocks = self.kv_num_blocks.sum()
        if self.full_kv_num_blocks is not None:
            blocks = blocks + self.full_kv_num_blocks.sum()
        return 100 * (1 - blocks.item() * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1] / self.numel())

    def to_dense(self) -> Tensor:
        """The table of blocks: 1 where one holds something."""
        made = _dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_num_blocks is not None and self.full_kv_indices is not None:
            made = made | _dense(self.full_kv_num_blocks, self.full_kv_indices)
        return made

    def as_tuple(self, flatten: bool = True) -> tuple:
        """Lengths, tables, size of blocks and function, in this order."""
        lengths: tuple = self.seq_lengths if flatten else (self.seq_lengths,)
        size: tuple = self.BLOCK_SIZE if flatten else (self.BLOCK_SIZE,)
        return (*lengths, *(getattr(self, name) for name in self._TABLES), *size, self.mask_mod)

    def to(self, device: Any) -> BlockMask:
        """The same with its tables on another device."""
        tables: dict = {name: None if (t := getattr(self, name)) is None else t.to(device) for name in self._TABLES}
        return BlockMask(self.seq_lengths, **tables, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod)

    def __getitem__(self, index: Any) -> BlockMask:
        """A part by batch, head and row of blocks. Its function of places can no longer be called."""
        given = index if isinstance(index, tuple) else (index,)
        padded = (*given, slice(None), slice(None), slice(None))[:3]
        chosen = tuple(
            slice(i % n, i % n + 1) if isinstance(i, int) and -n <= i < n else i
            for i, n in zip(padded, self.kv_num_blocks.shape)
        )
        tables: dict = {name: None if (t := getattr(self, name)) is None else t[chosen] for name in self._TABLES[:4]}
        return BlockMask.from_kv_blocks(
            **tables, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=_sliced_mask_mod_error, seq_lengths=self.seq_lengths,
            compute_q_blocks=self.q_indices is not None,
        )  # fmt: skip

    def to_string(self, grid_size: int | tuple[int, int] = (20, 20), limit: int = 4) -> str:
        """A picture of each head: █ for what is full of blocks, ░ for what has some. grid_size -1: every block."""
        dense = self.to_dense()
        *outer, rows, columns = dense.shape
        limits = (rows, columns) if grid_size == -1 else (grid_size,) * 2 if isinstance(grid_size, int) else grid_size
        down, across = max(1, -(-rows // limits[0])), max(1, -(-columns // limits[1]))
        pictures: list[str] = []
        for which in itertools.product(*map(range, outer)):
            if len(pictures) == limit:
                pictures += [
                    "...", "To print out more, set BlockMask.to_string(limit=N)",
                    "You can also index (BlockMask[batch, head]) to choose a specific batch or head",
                ]  # fmt: skip
                break
            picture = f"{which}\n"
            for r in range(0, rows, down):
                for c in range(0, columns, across):
                    share = dense[which][r : r + down, c : c + across].float().mean().item()
                    picture += ("█" if share == 1 else "░" if share else " ") * 2
                picture += "\n"
            pictures.append(picture)
        return "\n".join(pictures)

    def __str__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, \n{self.to_string().strip()}\n)"

    def __repr__(self) -> str:
        tables = "".join(
            f"    {name}={None if (t := getattr(self, name)) is None else t.shape},\n" for name in self._TABLES
        )
        return (
            f"BlockMask(\n{tables}    BLOCK_SIZE={self.BLOCK_SIZE},\n    shape={self.shape},\n"
            f"    sparsity={self.sparsity():.2f}%,\n    mask_mod={getattr(self.mask_mod, '__name__', self.mask_mod)}\n)"
        )

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        """The mask of the same function for other lengths."""
        B, H = self.kv_num_blocks.shape[:2]
        return create_block_mask(
            self.mask_mod, B, H, new_q_len, new_kv_len, self.kv_indices.device, self.BLOCK_SIZE,
            separate_full_blocks=self.full_kv_indices is not None,
        )  # fmt: skip


def create_block_mask(
    mask_mod: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = BLOCK, _compile: bool = False, separate_full_blocks: bool = True,
) -> BlockMask:  # fmt: skip
    """The mask of a function ``mask_mod(batch, head, query, key)`` that says which keys a query sees.

    B, H: 1 if None, for a function that does not look at them. Raises AssertionError for one of other arguments.

    >>> from livegrad.nn.attention.flex_attention import create_block_mask
    >>> mask = create_block_mask(lambda b, h, q, k: q >= k, 1, 1, 256, 256)
    >>> mask.to_dense().tolist(), mask.sparsity()
    ([[[[1, 0], [1, 1]]]], 25.0)
    """
    if _arguments(mask_mod) != 4:
        raise AssertionError(f"create_block_mask requires a mask_mod function! Got {mask_mod}")
    size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    if mask.dtype != livegrad.bool:
        raise AssertionError(f"a mask_mod gives a boolean for each place; this one gives {mask.dtype}")
    partial, full = _blocks_of(mask, size, separate_full_blocks)
    tables: list = [*_ordered(partial), *(_ordered(full) if full is not None else (None, None))]
    named: dict = dict(zip(BlockMask._TABLES, tables))
    return BlockMask.from_kv_blocks(**named, BLOCK_SIZE=size, mask_mod=mask_mod, seq_lengths=(Q_LEN, KV_LEN))


__all__ = ["BLOCK", "BlockMask", "and_masks", "create_block_mask", "create_mask", "noop_mask", "or_masks"]
