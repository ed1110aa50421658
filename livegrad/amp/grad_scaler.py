"""`GradScaler`: multiplies the loss, so that gradients do not vanish in float16, and divides the gradients again."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterable
from typing import Any

import livegrad

from .. import cuda, dtypes
from ..site import warn
from ..tensor import Tensor

__all__ = ["GradScaler"]


class OptState(enum.Enum):
    """How far an optimizer has come since the last `update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


_READY, _UNSCALED, _STEPPED = OptState


class _Progress:
    """How far one optimizer has come since the last `update`. found: by device, above zero where not all is finite."""

    def __init__(self) -> None:
        self.stage = _READY
        self.found: dict[Any, Tensor] = {}


class GradScaler:
    """Scales a loss by a factor that adapts itself, and leaves out steps whose gradients are not finite.

    device: "cuda" or "cpu". The factor begins at ``init_scale``; it is multiplied by ``backoff_factor`` after a step
    whose gradients held an infinity or NaN, and by ``growth_factor`` after ``growth_interval`` steps without.
    enabled: False makes everything here do nothing but step.

    >>> import livegrad
    >>> p = livegrad.nn.Parameter(livegrad.ones(2))
    >>> optimizer = livegrad.optim.SGD([p], lr=0.5)
    >>> scaler = livegrad.amp.GradScaler("cpu", init_scale=8.0)
    >>> scaler.scale(p.sum()).backward()
    >>> p.grad.tolist()
    [8.0, 8.0]
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> p.tolist()
    [0.5, 0.5]
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device == "cuda" and not cuda.is_available():
            warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.")
            self._enabled = False
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_scale = init_scale
        self._init_growth_tracker = 0
        # On the device of the first loss that is scaled: None until then.
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._progress: dict[int, _Progress] = {}

    def _of(self, optimizer: Any) -> _Progress:
        return self._progress.setdefault(id(optimizer), _Progress())

    def _state(self, function: str) -> tuple[Tensor, Tensor]:
        """The factor and the count of good steps."""
        if self._scale is None or self._growth_tracker is None:
            raise AssertionError(
                f"Attempted {function} but _scale is None.  This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale, self._growth_tracker

    # --- scaling ------------------------------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """A loss, or all tensors of nested sequences, multiplied by the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._begin(outputs.device)
            return outputs * self._scale.to(outputs.device, non_blocking=True)  # type: ignore[union-attr]
        if isinstance(outputs, Iterable):
            made = map(self.scale, outputs)
            return type(outputs)(made) if isinstance(outputs, (list, tuple)) else made  # type: ignore[call-arg]
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _begin(self, device: Any) -> None:
        self._scale = livegrad.full((), float(self._init_scale), dtype=dtypes.float32, device=device)
        self._growth_tracker = livegrad.full((), self._init_growth_tracker, dtype=dtypes.int32, device=device)

    def unscale_(self, optimizer: Any) -> None:
        """Divide an optimizer's gradients by the factor, for clipping them or looking at them before `step`.

        Raises RuntimeError where that was done already since the last `update`, and ValueError for float16 gradients.
        """
        if not self._enabled:
            return
        scale, _ = self._state("unscale_")
        progress = self._of(optimizer)
        if progress.stage == _UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if progress.stage == _STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        progress.found = self._divide(optimizer, scale.double().reciprocal().float(), False)
        progress.stage = _UNSCALED

    def _divide(self, optimizer: Any, inverse: Tensor, allow_fp16: bool) -> dict[Any, Tensor]:
        """Multiply all gradients by `inverse`; by device, how many of them are not finite."""
        found: dict[Any, Tensor] = {}
        with livegrad.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    g = parameter.grad
                    if g is None:
                        continue
                    if not allow_fp16 and g.dtype is dtypes.float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    bad = g.isfinite().all().logical_not().float()
                    g.mul_(inverse.to(g.device, non_blocking=True))
                    before = found.get(g.device)
                    found[g.device] = bad if before is None else before + bad
        return found

    # --- stepping -----------------------------------------------------------------------------------------------

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Divide the gradients, unless that is done, and call ``optimizer.step(...)`` if all of them are finite.

        Returns what the optimizer returns, None where the step is left out. Raises RuntimeError for a closure, and
        for a second step without `update`.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._state("step")
        progress = self._of(optimizer)
        if progress.stage == _STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            returned = self._handed_over(optimizer, progress, args, kwargs)
        else:
            if progress.stage == _READY:
                self.unscale_(optimizer)
            if not progress.found:
                raise AssertionError("No inf checks were recorded for this optimizer.")
            bad = any(f.item() for f in progress.found.values())
            returned = None if bad else optimizer.step(*args, **kwargs)
        progress.stage = _STEPPED
        return returned

    def _handed_over(self, optimizer: Any, progress: _Progress, args: tuple, kwargs: dict) -> Any:
        """The step of an optimizer that divides by itself and decides on the device whether to step."""
        if "grad_scaler" in inspect.signature(optimizer.step).parameters:
            return optimizer.step(*args, **kwargs, grad_scaler=self)
        scale, _ = self._state("step")
        if progress.stage == _READY:
            progress.found = self._divide(optimizer, livegrad.ones_like(scale), True)
            optimizer.grad_scale = scale
        else:
            optimizer.grad_scale = None
        total = livegrad.zeros_like(scale)
        for f in progress.found.values():
            total = total + f.to(scale.device, non_blocking=True)
        optimizer.found_inf = total
        try:
            return optimizer.step(*args, **kwargs)
        finally:
            del optimizer.grad_scale, optimizer.found_inf

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the factor, at the end of every iteration; or set it to ``new_scale``."""
        if not self._enabled:
            return
        scale, tracker = self._state("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor):
                if new_scale.device.type != self._device or new_scale.numel() != 1 or new_scale.requires_grad:
                    raise AssertionError(
                        "new_scale should be a float or a 1-element torch.cuda.FloatTensor or torch.FloatTensor with "
                        "requires_grad=False."
                    )
                scale.copy_(new_scale.reshape(()))
            else:
                scale.fill_(new_scale)
        else:
            found = [f.to(scale.device, non_blocking=True) for p in self._progress.values() for f in p.found.values()]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            total = found[0]
            for f in found[1:]:
                total = total + f
            self._adapt(scale, tracker, total != 0)
        self._progress = {}

    def _adapt(self, scale: Tensor, tracker: Tensor, bad: Tensor) -> None:
        """Decided on the device, without waiting for it. The factor does not grow beyond what is finite."""
        good = tracker + 1
        due = good == self._growth_interval
        grown = scale * self._growth_factor
        after = livegrad.where(due & grown.isfinite(), grown, scale)
        scale.copy_(livegrad.where(bad, scale * self._backoff_factor, after))
        tracker.copy_(livegrad.where(bad | due, livegrad.zeros_like(tracker), good))

    # --- state --------------------------------------------------------------------------------------------------

    def get_scale(self) -> float:
        """The factor, 1.0 where scaling is off. This waits for the device."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """What the factor grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the factor grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by after a step that was left out."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the factor is multiplied by after a step that was left out."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the factor grows."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The state as a dictionary; empty where scaling is off."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state that `state_dict` gave. Raises RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        self._scale = self._growth_tracker = None  # made of these when the next loss is scaled

    def __getstate__(self) -> dict[str, Any]:
        if self._progress:
            raise AssertionError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        return {
            **self.__dict__,
            "_init_scale": self.get_scale() if self._enabled else self._init_scale,
            "_init_growth_tracker": self._get_growth_tracker(),
            "_scale": None,
            "_growth_tracker": None,
        }
