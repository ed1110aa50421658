"""From what a sampler gives to a batch: looking samples up, or taking them from a stream, and collating them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .collate import default_collate
from .dataset import Subset, TensorDataset

__all__ = ["Recipe", "recipe_of"]


class _DatasetKind:
    """PyTorch's numbers for how samples are come by."""

    Map, Iterable = 0, 1


@dataclass(frozen=True)
class Recipe:
    """How the batches of a loader are made, wherever that happens.

    batched: the sampler gives lists of indices, not single ones; the samples of each are collated.
    """

    dataset: Any
    collate: Callable
    stream: bool
    batched: bool
    drop_last: bool

    def fetcher(self) -> Callable[[Any], Any]:
        """A function from what the sampler gives to a batch, for one pass. Raises StopIteration where a stream ends."""
        return _Stream(self) if self.stream else _look_up(self)


def recipe_of(loader: Any) -> Recipe:
    """The recipe of a loader: its own, or that of what other libraries make in the likeness of PyTorch's loader."""
    own = getattr(loader, "_recipe", None)
    if own is not None:
        return own
    stream = loader._dataset_kind == _DatasetKind.Iterable
    return Recipe(loader.dataset, loader.collate_fn, stream, loader._auto_collation, loader.drop_last)


class _Stream:
    """Takes a batch from a stream each time that it is called."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.samples = iter(recipe.dataset)
        self.ended = False

    def __call__(self, index: Any) -> Any:
        if self.ended:
            raise StopIteration
        recipe = self.recipe
        if not recipe.batched:
            return recipe.collate(next(self.samples))
        batch = []
        for _ in index:
            try:
                batch.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not batch or (recipe.drop_last and len(batch) < len(index)):
            raise StopIteration
        return recipe.collate(batch)


def _look_up(recipe: Recipe) -> Callable[[Any], Any]:
    dataset, collate = recipe.dataset, recipe.collate
    if not recipe.batched:
        return lambda index: collate(dataset[index])
    if collate is default_collate:
        at_once = _batches_at_once(dataset)
        if at_once is not None:
            return at_once
    together = getattr(dataset, "__getitems__", None)
    if callable(together):
        return lambda indices: collate(together(indices))
    return lambda indices: collate([dataset[i] for i in indices])


def _batches_at_once(dataset: Any) -> Callable[[list], Any] | None:
    """The function that looks a whole batch up, for a dataset of tensors (or a subset of one), else None."""
    if type(dataset) is TensorDataset:
        return dataset._batch
    if type(dataset) is Subset:
        inner = _batches_at_once(dataset.dataset)
        if inner is not None:
            return lambda indices: inner([dataset.indices[i] for i in indices])
    return None
