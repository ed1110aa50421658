"""Where loaded tensors go: `map_location`."""

from __future__ import annotations

from typing import Any

from .objects import kind_of

__all__ = ["NotPlaced", "Placer"]


class NotPlaced(Exception):
    """Carries an error of the caller's ``map_location``, or of a saved module's classes, past the handlers of errors in
    the file."""


class Placer:
    """Puts loaded tensors where ``map_location`` says, or where they were when they were saved."""

    def __init__(self, map_location: Any):
        simple = map_location is None or isinstance(map_location, (str, int, dict)) or callable(map_location)
        if not simple and kind_of(map_location) != "device":
            raise TypeError(
                f"map_location must be a device, its name, a dict or a callable, not {type(map_location).__name__}"
            )
        self.map_location = map_location

    def __call__(self, tensor: Any, saved_on: str) -> Any:
        try:
            return self._placed(tensor, saved_on)
        except Exception as error:
            raise NotPlaced from error

    def _placed(self, tensor: Any, saved_on: str) -> Any:
        where = self.map_location
        if where is None:
            return self._move(tensor, saved_on, asked=False)
        if isinstance(where, dict):
            target = where.get(saved_on)
            return self._move(tensor, saved_on if target is None else target, asked=target is not None)
        if callable(where):
            moved = where(tensor, saved_on)
            return self._move(tensor, saved_on, asked=False) if moved is None else moved
        return self._move(tensor, where, asked=True)

    @staticmethod
    def _move(tensor: Any, device: Any, asked: bool) -> Any:
        if str(device) == "cpu":
            return tensor
        try:
            return tensor.to(device)
        except RuntimeError as error:
            if asked:
                raise
            raise RuntimeError(
                f"the file has tensors that were on device '{device}', which is not available here ({error}). "
                'To load them into this machine\'s memory, pass map_location="cpu" to load()'
            ) from None
