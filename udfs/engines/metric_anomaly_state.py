"""What is known of a metric, in memory and as bytes."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.metric_anomaly_feedback import Feedback
from thalweg.udfs.engines.metric_anomaly_kernel import LEVELS, SCALARS, SPREAD
from thalweg.udfs.engines.metric_anomaly_settings import MetricSettings
from thalweg.udfs.engines.sealed import inflate, open_sealed, seal

__all__ = ["MetricState"]

# events learned, those learned with the last alarm, bytes before compression
_HEAD = struct.Struct(">QQQ")
_LEVEL = 1
_LARGEST = 1e160  # beyond what sums of inputs can reach


class MetricState:
    """Windows, season and levels; see ``metric_anomaly_kernel.observe``.

    Parameters
    ----------
    settings : MetricSettings
        Gives the sizes.

    Attributes
    ----------
    learned : int
        Events learned.
    alarm : int
        Events learned with the last one that was an alarm; 0, there was none.
    feedback : Feedback
        What people said of alarms.
    values, codes, recent, seasons, levels : array
        As ``observe`` takes them.
    """

    def __init__(self, settings: MetricSettings) -> None:
        self._settings = settings
        inputs, window = settings.inputs, settings.window
        scalars = SCALARS if settings.period else SCALARS - 1
        self.learned = self.alarm = 0
        self.feedback = Feedback(window)
        self.values: NDArray[np.float64] = np.zeros((2, inputs * scalars, window))
        self.codes: NDArray[np.uint16] = np.zeros((2, inputs * (scalars + 2) + 2, window), np.uint16)
        self.recent: NDArray[np.float64] = np.zeros((inputs, SPREAD))
        self.seasons: NDArray[np.float64] = np.zeros((inputs, 3, settings.bins))
        self.levels: NDArray[np.float64] = np.zeros((inputs, LEVELS))

    def dump(self) -> bytes:
        """Return the state as bytes, the same for the same state."""
        held = min(self.learned, self._settings.window)
        parts = [self.recent, self.seasons, self.levels, self.values[0, :, :held]]
        body = b"".join(part.astype("<f8").tobytes() for part in parts)
        body += self.codes[0, :, :held].astype("<u2").tobytes() + self.feedback.dump()
        head = _HEAD.pack(self.learned, self.alarm, len(body))
        return seal(self._settings.digest, head + zlib.compress(body, _LEVEL))

    @classmethod
    def restore(cls, settings: MetricSettings, blob: bytes) -> MetricState:
        """Return the state that ``dump`` wrote.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model; sizes are checked before anything is built.
        """
        content = open_sealed(blob, settings.digest, _HEAD.size, "another window or seasonality, or with other inputs")
        learned, alarm, size = _HEAD.unpack_from(content)
        state = cls(settings)
        held = min(learned, settings.window)
        floats = [state.recent, state.seasons, state.levels, state.values[0, :, :held]]
        windows = 8 * sum(part.size for part in floats) + 2 * state.codes[0, :, :held].size
        # A snapshot of a version without feedback ends with its windows.
        if not alarm <= learned < 1 << 53 or size < windows or not Feedback.fits(size - windows):
            raise SnapshotError("the snapshot is damaged: it is not as long as its windows.")
        state.alarm = alarm
        state._fill(learned, held, inflate(bytes(content[_HEAD.size :]), size), floats)
        return state

    def _fill(self, learned: int, held: int, body: bytes, floats: list[Any]) -> None:
        at = 0
        for part in floats:
            part[...] = np.frombuffer(body, "<f8", part.size, at).reshape(part.shape)
            at += 8 * part.size
            # Of NaN and infinity it is not true, either.
            if part.size and not np.abs(part).max() < _LARGEST:
                raise SnapshotError("the snapshot is damaged: it holds a number that cannot be.")
        codes = self.codes[0, :, :held]
        codes[...] = np.frombuffer(body, "<u2", codes.size, at).reshape(codes.shape)
        self.feedback.load(body[at + 2 * codes.size :])
        self.values[1, :, :held] = np.sort(self.values[0, :, :held])
        self.codes[1, :, :held] = np.sort(codes)
        self.learned = learned
        counts, sums = self.seasons[:, 1:2], self.levels[:, 2:]
        if min(counts.min(initial=0), sums.min(initial=0)) < 0 or (learned and not sums[:, -1].min() > 0):
            raise SnapshotError("the snapshot is damaged: it holds a number that cannot be.")
        if codes.max(initial=0) > 0x7FF0:  # infinity; above it is NaN
            raise SnapshotError("the snapshot is damaged: it holds a rank that cannot be.")
