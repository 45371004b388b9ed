"""What is known of a metric, in memory and as bytes."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.metric_anomaly_kernel import LEVELS, SCALARS, SPREAD
from thalweg.udfs.engines.metric_anomaly_settings import MetricSettings

__all__ = ["MetricState"]

PROTOCOL = 1
# protocol, checksum of all that follows, what the snapshot must agree with, events learned, those learned with the last
# alarm, bytes before compression
_HEAD = struct.Struct(">BI8sQQQ")
_CHECKED_FROM = 5
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
    values, codes, recent, seasons, levels : array
        As ``observe`` takes them.
    """

    def __init__(self, settings: MetricSettings) -> None:
        self._settings = settings
        inputs, window = settings.inputs, settings.window
        scalars = SCALARS if settings.period else SCALARS - 1
        self.learned = self.alarm = 0
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
        body += self.codes[0, :, :held].astype("<u2").tobytes()
        head = _HEAD.pack(PROTOCOL, 0, self._settings.digest, self.learned, self.alarm, len(body))
        rest = head[_CHECKED_FROM:] + zlib.compress(body, _LEVEL)
        return struct.pack(">BI", PROTOCOL, zlib.crc32(rest)) + rest

    @classmethod
    def restore(cls, settings: MetricSettings, blob: bytes) -> MetricState:
        """Return the state that ``dump`` wrote.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model; sizes are checked before anything is built.
        """
        if blob[:1] != bytes([PROTOCOL]):
            found = blob[0] if blob else "nothing"
            raise SnapshotError(f"the snapshot has protocol {found}; this version reads protocol {PROTOCOL}.")
        if len(blob) < _HEAD.size:
            raise SnapshotError("the snapshot is damaged: it ends too early.")
        _, check, digest, learned, alarm, size = _HEAD.unpack_from(blob)
        if zlib.crc32(memoryview(blob)[_CHECKED_FROM:]) != check:
            raise SnapshotError("the snapshot is damaged: its checksum does not fit.")
        if digest != settings.digest:
            what = "the snapshot was learned with another window or seasonality, or with other inputs"
            raise SnapshotError(f"{what}; to begin anew, give the model another name.")
        state = cls(settings)
        held = min(learned, settings.window)
        floats = [state.recent, state.seasons, state.levels, state.values[0, :, :held]]
        if (
            not alarm <= learned < 1 << 53
            or size != 8 * sum(part.size for part in floats) + 2 * state.codes[0, :, :held].size
        ):
            raise SnapshotError("the snapshot is damaged: it is not as long as its windows.")
        state.alarm = alarm
        state._fill(learned, held, _inflate(blob[_HEAD.size :], size), floats)
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
        self.values[1, :, :held] = np.sort(self.values[0, :, :held])
        self.codes[1, :, :held] = np.sort(codes)
        self.learned = learned
        counts, sums = self.seasons[:, 1:2], self.levels[:, 2:]
        if min(counts.min(initial=0), sums.min(initial=0)) < 0 or (learned and not sums[:, -1].min() > 0):
            raise SnapshotError("the snapshot is damaged: it holds a number that cannot be.")
        if codes.max(initial=0) > 0x7FF0:  # infinity; above it is NaN
            raise SnapshotError("the snapshot is damaged: it holds a rank that cannot be.")


def _inflate(packed: bytes, size: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, size) if size else stream.decompress(packed)
    except zlib.error as error:
        raise SnapshotError(f"the snapshot is damaged ({error}).") from error
    # A stream of the right length has no more to give, and its end has been read.
    if len(body) != size or stream.decompress(stream.unconsumed_tail, 1) or not stream.eof or stream.unused_data:
        raise SnapshotError("the snapshot is damaged: it is not as long as it says.")
    return body
