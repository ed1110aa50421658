"""Short-time Fourier transforms: the spectra of overlapping frames of a signal, and the signal that has them."""

from __future__ import annotations

from . import fft as fourier
from .ops.instruction import SCALAR_TYPE_NAMES
from .ops.parts import view_as_real
from .ops.view_operators import EMBED, UNFOLD
from .tensor import Tensor

__all__ = ["istft", "stft"]


def _told(name: str, x: Tensor, what: dict) -> str:
    given = ", ".join(f"{key}={int(v) if isinstance(v, bool) else v}" for key, v in what.items())
    return f"{name}(torch.{SCALAR_TYPE_NAMES[x.dtype]}Tensor{list(x.shape)}, {given}) : "


def _shown(window: Tensor | None) -> str:
    return "None" if window is None else f"torch.{SCALAR_TYPE_NAMES[window.dtype]}Tensor{{{list(window.shape)}}}"


def _over_frame(window: Tensor | None, n_fft: int, win_length: int, like: Tensor) -> Tensor | None:
    """The window in the middle of a frame, zeros around it; None for ones."""
    if window is None:
        if win_length == n_fft:
            return None
        window = like.detach().real.new_ones(win_length)
    before = (n_fft - win_length) // 2
    from .nn.functional import pad

    return pad(window, (before, n_fft - win_length - before)) if win_length < n_fft else window


def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None,
) -> Tensor:  # fmt: skip
    """The spectra of frames of n_fft samples, one every hop_length (n_fft // 4), multiplied by a window before.

    input: (samples) or (batch, samples); result: (batch, frequencies, frames). center: the first frame is around the
    first sample, for which the signal is padded (pad_mode). onesided: half of the frequencies, which is all of a real
    signal (the default there). normalized: divided by the root of n_fft. return_complex=False gives the parts of the
    complex numbers, along a last dimension of their own.
    Raises RuntimeError where the sizes do not fit.

    >>> import livegrad
    >>> livegrad.stft(livegrad.arange(32.0), 8, return_complex=True).shape
    torch.Size([5, 17])
    """
    from .nn.functional import pad

    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    over_complex = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None:
        if not over_complex:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    flat = input.dim() == 1
    x = input.unsqueeze(0) if flat else input
    if center and x.dim() == 2:
        half = n_fft // 2
        x = pad(x.unsqueeze(0), (half, half), mode=pad_mode).squeeze(0)
    what = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": _shown(window),
            "normalized": normalized, "onesided": onesided, "return_complex": return_complex,
            "align_to_window": None}  # fmt: skip
    wrong = ""
    if not (input.is_floating_point() or input.is_complex()):
        wrong = "expected a tensor of floating point or complex values"
    elif x.dim() != 2:
        wrong = "expected a 1D or 2D tensor"
    elif not 0 < n_fft <= x.shape[-1]:
        wrong = f"expected 0 < n_fft < {x.shape[-1]}, but got n_fft={n_fft}"
    elif hop_length <= 0:
        wrong = f"expected hop_length > 0, but got hop_length={hop_length}"
    elif not 0 < win_length <= n_fft:
        wrong = f"expected 0 < win_length <= n_fft, but got win_length={win_length}"
    elif window is not None and window.shape != (win_length,):
        wrong = (
            f"expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
            f"{list(window.shape)}"
        )
    if wrong:
        raise RuntimeError(_told("stft", x, what) + wrong)
    if onesided and over_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    frames = x.unfold(-1, n_fft, hop_length)
    weight = _over_frame(window, n_fft, win_length, x)
    if weight is not None:
        frames = frames * weight
    transform = fourier.fft if over_complex or onesided is False else fourier.rfft
    made = transform(frames, norm="ortho" if normalized else None).transpose(1, 2)
    made = made.squeeze(0) if flat else made
    return made if return_complex else view_as_real(made)


def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: int | None = None, return_complex: bool = False,
) -> Tensor:  # fmt: skip
    """The signal whose short-time transform (see `stft`) is nearest, with `length` samples if given.

    Frames are added up where they overlap, weighed by the window, and divided by what the windows' squares add up to.
    Raises RuntimeError where that comes to nothing.

    >>> import livegrad
    >>> x = livegrad.arange(32.0)
    >>> spectra = livegrad.stft(x, 8, return_complex=True)
    >>> livegrad.allclose(livegrad.istft(spectra, 8), x, atol=1e-4)
    True
    """
    from .nn.functional import pad

    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if input.dim() not in (2, 3):
        raise RuntimeError(f"istft expected a tensor with 2 or 3 dimensions, but got {input.dim()}")
    what = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": _shown(window),
            "center": center, "normalized": normalized, "onesided": onesided, "length": length,
            "return_complex": return_complex}  # fmt: skip
    flat = input.dim() == 2
    x = input.unsqueeze(0) if flat else input
    half = onesided is not False and not (onesided is None and x.shape[1] == n_fft and n_fft > 2)
    wanted = n_fft // 2 + 1 if half else n_fft
    wrong = ""
    if x.shape[1] != wanted:
        rule = "n_fft / 2 + 1 when onesided=True" if half else "n_fft when onesided=False"
        wrong = (
            f"expected the frequency dimension (3rd to the last) of the input tensor to match {rule}, but got "
            f"{x.shape[1]}"
        )
    elif not 0 < hop_length <= win_length:
        wrong = "expected 0 < hop_length <= win_length"
    elif not 0 < win_length <= n_fft:
        wrong = "expected 0 < win_length <= n_fft"
    elif window is not None and window.shape != (win_length,):
        wrong = "Invalid window shape. window has to be 1D and length of `win_length`"
    if wrong:
        raise RuntimeError(_told("istft", input, what) + wrong)
    if half and (return_complex or (window is not None and window.is_complex())):
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    spectra, norm = x.transpose(1, 2), "ortho" if normalized else None
    if return_complex:
        frames = fourier.ifft(spectra, norm=norm)
    else:  # the first half says all of a real signal
        frames = fourier.irfft(spectra.narrow(-1, 0, n_fft // 2 + 1), n_fft, norm=norm)
    weight = _over_frame(window, n_fft, win_length, x)
    if weight is None:
        weight = x.detach().real.new_ones(n_fft)
    count = x.shape[2]
    total = n_fft + hop_length * (count - 1)
    added = _overlapped(frames * weight, (x.shape[0], total), hop_length)
    envelope = _overlapped((weight * weight).expand(1, count, n_fft), (1, total), hop_length)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - (n_fft // 2 if center else 0)
    added, envelope = added[:, start : min(end, total)], envelope[:, start : min(end, total)]
    if envelope.numel() and not float(envelope.detach().abs().min()) > 1e-11:
        raise RuntimeError(_told("istft", input, what) + "window overlap add min: 1")
    made = added / envelope
    if end > total:
        made = pad(made, (0, end - total))
    return made.squeeze(0) if flat else made


def _overlapped(frames: Tensor, shape: tuple, hop: int) -> Tensor:
    """Frames added up at their places in a signal: the adjoint of cutting it up."""
    return EMBED.apply((frames,), view=UNFOLD, shape=shape, args={"dim": 1, "size": frames.shape[-1], "step": hop})
