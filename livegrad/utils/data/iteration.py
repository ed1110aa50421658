"""A pass over a DataLoader, and the one whose batches are made in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...site import warn
from .fetching import recipe_of
from .pinning import pinned, wants_pinned
from .sampler import fresh_seed

__all__ = ["InProcess", "Pass"]


class Pass:
    """What all passes do: they pin batches where that is wanted, and warn of streams that are longer than they say."""

    def __init__(self, loader: Any) -> None:
        # The loader itself is not kept: it keeps a pass of persistent workers, which end when both are forgotten.
        self._recipe = recipe_of(loader)
        self._sampler = loader._index_sampler
        self._split = loader.num_workers > 0
        self._told = getattr(loader, "_told_length", None)
        self._pins = wants_pinned(loader)
        self._given = 0

    def __iter__(self) -> Pass:
        return self

    def __len__(self) -> int:
        return len(self._sampler)

    def _next(self) -> Any:
        raise NotImplementedError

    def __next__(self) -> Any:
        batch = self._next()
        self._given += 1
        if self._told is not None and self._given > self._told:
            self._warn()
        return pinned(batch) if self._pins else batch

    def _warn(self) -> None:
        text = (
            f"Length of IterableDataset {self._recipe.dataset} was reported to be {self._told} (when accessing "
            f"len(dataloader)), but {self._given} samples have been fetched. "
        )
        if self._split:
            text += "Each worker has a copy of the dataset: take its share of the stream with get_worker_info()."
        warn(text)


class InProcess(Pass):
    """A pass whose batches are made when they are asked for."""

    def __init__(self, loader: Any, indices: Iterator | None = None) -> None:
        super().__init__(loader)
        if indices is None:  # other libraries begin a pass by its class
            fresh_seed(loader.generator)
            indices = iter(loader._index_sampler)
        self._indices = indices
        self._fetch = self._recipe.fetcher()

    def _next(self) -> Any:
        return self._fetch(next(self._indices))
