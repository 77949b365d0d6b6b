"""Speech Commands (Warden 2018), of which the published test set alone: its figures compare with no published one.

4890 clips of a second at 16 kHz, of twelve classes: ten words, unknown words, and silence. They are split by speaker
(the part of the file's name before its first underscore): sha1(speaker) mod 10 is 0 or 1 in the test split, 2 in that
for validation, anything else in training. Clips of silence are cut from a few recordings, which all splits share: they
are easy.

Features are the front end of Ellenberger et al. 2024: logarithmic powers in mel bands, `log_mels`, of each clip less
their mean and over their standard deviation, [samples, frames, bands] = [samples, 41, 32].
"""

import hashlib
import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from benchmarks.datasets._types import DataSet, Split
from benchmarks.datasets.lookup import File, read
from benchmarks.errors import InvalidInput

RATE = 16_000
"""Hz."""
WINDOW, HOP, BANDS = 1024, 400, 32
"""Samples of a window and between windows, and number of mel bands from 0 to RATE / 2."""
FLOOR = 1e-9
"""Added to powers before their logarithm."""
TEST, VALIDATION = (0, 1), (2,)
"""Which of ten parts of the speakers the splits hold."""
CLIPS = File(
    "gsc_v0.02_testset_16k_int16.npz",
    sha256="0d0539727ae76f6b5150753fd75223fe378eda37256364c7be057e6e1f11e3a1",
    url=None,
)


class Clips(NamedTuple):
    """What the file holds."""

    sound: Int[np.ndarray, "samples time"]
    """16 bits."""
    labels: Int[np.ndarray, " samples"]
    names: tuple[str, ...]
    """Of the published files."""
    classes: tuple[str, ...]


def clips() -> Clips:
    """Reads the clips, an npz file with the arrays x, y, labels and names.

    **Raises:** `FileNotFoundError`, `ValueError` if it is missing or damaged.
    """
    with np.load(io.BytesIO(read("speech_commands_v2_test", CLIPS)), allow_pickle=False) as arrays:
        classes = tuple(str(label).strip("_") for label in arrays["labels"])
        return Clips(arrays["x"], arrays["y"].astype(np.int32), tuple(map(str, arrays["names"])), classes)


def load() -> DataSet:
    """Features of all `clips`, split: 3242, 625 and 1023 samples."""
    sound, labels, names, classes = clips()
    features = normalised(log_mels(sound / 2.0**15))
    part = np.array([_part(name) for name in names])

    def split(chosen: np.ndarray) -> Split:
        return Split(features[chosen], labels[chosen])

    test, validation = np.isin(part, TEST), np.isin(part, VALIDATION)
    return DataSet("speech_commands_subset", classes, split(~test & ~validation), split(validation), split(test))


def log_mels(clips: Float[np.ndarray, "samples time"]) -> Float[np.ndarray, "samples frames bands"]:
    """log2 of the power in mel bands, of windows of 64 ms every 25 ms that are centred on their time.

    Periodic Hann windows; clips are reflected at their ends; HTK's mel scale, 2595 log10(1 + f / 700), in triangles of
    height 1. One frame per HOP samples and one more.
    """
    if clips.ndim != 2 or clips.shape[1] <= WINDOW // 2:
        raise InvalidInput(f"clips must be [samples, time], longer than {WINDOW // 2}, but have shape {clips.shape}.")
    window = np.hanning(WINDOW + 1)[:-1]
    filters = mel_filters()
    padded = np.pad(clips, ((0, 0), (WINDOW // 2, WINDOW // 2)), mode="reflect")
    starts = range(0, clips.shape[1] + 1, HOP)
    frames = []
    for start in starts:  # frame by frame, so that the spectra of all are never in memory at once
        spectrum = np.fft.rfft(padded[:, start : start + WINDOW] * window)
        frames.append(np.log2(np.abs(spectrum) ** 2 @ filters + FLOOR).astype(np.float32))
    return np.stack(frames, axis=1)


def mel_filters() -> Float[np.ndarray, "frequencies bands"]:
    """Triangles over the frequencies of the spectrum, each from one mel centre to the next but one."""

    def mel(hertz: float) -> float:
        return 2595 * np.log10(1 + hertz / 700)

    corners = 700 * (10 ** (np.linspace(0, mel(RATE / 2), BANDS + 2) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    widths = np.diff(corners)
    slopes = corners - frequencies[:, None]
    return np.clip(np.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]), 0, None)


def normalised(features: Float[np.ndarray, "samples frames bands"]) -> Float[np.ndarray, "samples frames bands"]:
    """Each sample less its mean, over its standard deviation (n - 1); zero where nothing varies."""
    mean = features.mean(axis=(1, 2), keepdims=True)
    std = features.std(axis=(1, 2), keepdims=True, ddof=1)
    return (features - mean) / np.where(std > 0, std, 1)


def _part(name: str) -> int:
    """Which of ten parts the speaker of a clip, such as `yes/fe1916ba_nohash_0.wav`, belongs to."""
    speaker = name.rpartition("/")[2].split("_")[0]
    return int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 10
