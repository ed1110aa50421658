"""Entries of sound and moving pictures, and boxes drawn into pictures."""

import io
import wave

import numpy as np

from .images import to_image
from .require import proto, require
from .values import to_numpy


def audio(tag, sound, sample_rate=44100):
    """A sound of one channel, numbers from -1 to 1, as 16 bits."""
    samples = np.clip(to_numpy(sound).astype(np.float64).squeeze(), -1, 1)
    if samples.ndim != 1:
        raise ValueError(f"a sound has one channel, but got shape {to_numpy(sound).shape}")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    value = proto("summary").Summary.Audio(
        sample_rate=sample_rate, num_channels=1, length_frames=len(samples), encoded_audio_string=file.getvalue(),
        content_type="audio/wav",
    )  # fmt: skip
    return proto("summary").Summary.Value(tag=tag, audio=value)


def video(tag, frames, fps=4):
    """Videos of shape (N, T, C, H, W), bytes or floats from 0 to 1, side by side, as a moving GIF."""
    frames = to_numpy(frames)
    if frames.ndim != 5:
        raise ValueError(f"a video has the axes N, T, C, H, W, but got shape {frames.shape}")
    made = [to_image(frames[:, t], "NCHW") for t in range(frames.shape[1])]
    pictures = [require("PIL.Image").fromarray(m[..., 0] if m.shape[-1] == 1 else m) for m in made]
    file = io.BytesIO()
    pictures[0].save(file, format="GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0)
    height, width, channels = made[0].shape
    value = proto("summary").Summary.Image(height=height, width=width, colorspace=channels)
    value.encoded_image_string = file.getvalue()
    return proto("summary").Summary.Value(tag=tag, image=value)


def with_boxes(pixels, boxes, rescale=1, labels=None):
    """A picture of (H, W, C) bytes, scaled, with red boxes (left, top, right, bottom) and their labels."""
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, -1)
    picture = require("PIL.Image").fromarray(pixels)
    picture = picture.resize((round(picture.width * rescale), round(picture.height * rescale)))
    drawing = require("PIL.ImageDraw").Draw(picture)
    for i, box in enumerate(to_numpy(boxes).reshape(-1, 4) * rescale):
        drawing.rectangle(box.tolist(), outline="red")
        if labels is not None:
            drawing.text((box[0] + 2, box[1]), str(labels[i]), fill="red")
    return np.asarray(picture)
