"""Log-mel features of a recording: what a tower reads of sound."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from model_search.data.checked_json import damaged, read_record
from model_search.errors import DataError

FLOOR = 1e-6  # added to the energies, so that silence has a logarithm
LOWEST_HERTZ = 20.0


@dataclasses.dataclass(frozen=True)
class LogMel:
    """Logarithms of the energies in mel bands (Davis & Mermelstein 1980), a vector for each hop.

    A recording shorter than a frame is padded with silence to one; what is left after the last whole frame is not read.

    Attributes:
        rate: Samples a second.
        frame: Samples in a frame, which has a Hann window.
        hop: Samples from one frame to the next.
        bands: How many mel bands.
        most_steps: How many vectors of a recording are read, the first ones; all where None.
        centred: Whether each band's mean over these vectors is subtracted (cepstral mean normalisation; Furui,
            "Cepstral Analysis Technique for Automatic Speaker Verification", IEEE TASSP 1981). Loudness, microphone and
            voice matter less then, and a sound that never changes is lost.
        top_db: How many decibels below the loudest value of the recording, of all its vectors and bands, a value may
            be; softer ones are raised to that. What is heard in pauses depends on the room and the microphone, and
            little else. As it is where None.
    """

    rate: int
    frame: int
    hop: int
    bands: int
    most_steps: int | None = None
    centred: bool = False
    top_db: float | None = None

    def __post_init__(self) -> None:
        if min(self.rate, self.frame, self.hop, self.bands, 1 if self.most_steps is None else self.most_steps) < 1:
            raise DataError(f"received {self}; expected whole numbers of at least 1")
        if self.top_db is not None and not 0 < self.top_db < math.inf:
            raise DataError(f"top_db is {self.top_db}; expected a number of decibels above 0, or None")

    @classmethod
    def usual(cls, rate: int, bands: int = 40) -> LogMel:
        """Frames of 25 ms, 10 ms apart."""
        return cls(rate, max(1, round(0.025 * rate)), max(1, round(0.010 * rate)), bands)

    @property
    def bins(self) -> int:
        """Length of the Fourier transform: the next power of two."""
        return 1 << max(1, math.ceil(math.log2(self.frame)))

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dict; `from_json` reads it. What is not asked for is left out."""
        optional = {"most_steps": self.most_steps, "centred": self.centred, "top_db": self.top_db}
        left_out = {name for name, value in optional.items() if not value}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in left_out}

    @classmethod
    def from_json(cls, values: Any) -> LogMel:
        """Reads what `to_json` wrote.

        Raises:
            DamagedRecordError: for anything else.
        """
        try:
            return read_record(cls, values, "the features of recordings")
        except DataError as error:
            raise damaged("the features of recordings", str(error)) from None

    def steps(self, samples: int) -> int:
        """How many vectors of a recording of so many samples are read."""
        found = 1 + max(0, samples - self.frame) // self.hop
        return found if self.most_steps is None else min(found, self.most_steps)

    def seconds(self, steps: int) -> float:
        """How long a recording of so many vectors lasts at most."""
        return (self.frame + steps * self.hop - 1) / self.rate

    @property
    def range(self) -> float | None:
        """`top_db` in units of the features, which are natural logarithms of energies; None for none."""
        return None if self.top_db is None else self.top_db * math.log(10) / 10

    @property
    def window(self) -> np.ndarray:
        """The periodic Hann window, float32 [frame]."""
        return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame) / self.frame)).astype(np.float32)

    @property
    def weights(self) -> np.ndarray:
        """Triangular mel filters, float32 [bins / 2 + 1, bands]; the lowest frequency has weight 0."""
        edges = np.linspace(_mel(np.array(LOWEST_HERTZ)), _mel(np.array(self.rate / 2)), self.bands + 2)
        place = _mel(np.linspace(0.0, self.rate / 2, self.bins // 2 + 1))[:, None]
        rising = (place - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - place) / (edges[2:] - edges[1:-1])
        found = np.maximum(0.0, np.minimum(rising, falling))
        found[0] = 0.0
        return found.astype(np.float32)

    def features(self, waveform: np.ndarray) -> np.ndarray:
        """The features of one recording.

        Args:
            waveform: Samples from -1 to 1 [samples], at `rate`.

        Returns:
            float32 [steps, bands].
        """
        samples = np.asarray(waveform, np.float32)
        if len(samples) < self.frame:
            samples = np.pad(samples, (0, self.frame - len(samples)))
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.frame)[:: self.hop][: self.most_steps]
        spectrum = np.abs(np.fft.rfft(frames * self.window, self.bins)).astype(np.float32)
        found = np.log(np.square(spectrum) @ self.weights + np.float32(FLOOR))
        if self.range is not None:
            found = np.maximum(found, found.max() - np.float32(self.range))
        return found - found.mean(axis=0) if self.centred else found


def _mel(hertz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(hertz / 700.0)
