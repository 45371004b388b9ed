"""What MIDAS has learned, in memory and as bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.midas_hash import salts_of
from thalweg.udfs.engines.midas_quantile import CLASSES, ScoreQuantile
from thalweg.udfs.engines.midas_settings import MidasSettings

__all__ = ["MidasState"]

PROTOCOL = 1
# protocol, checksum of all that follows, what the snapshot must agree with, edges learned, whether there are counts of
# scores, bytes of salts, head, cells and counts before they were compressed
_HEAD = struct.Struct(">BI8sQ?Q")
_CHECKED_FROM = 5
_HEAD_NUMBERS = 4
_LEVEL = 1  # the higher ones take several times as long for a few per cent
_LARGEST_TIME = 2.0**53
_LARGEST_NUMBER = 1e100  # far beyond any count, and its square times that of a time is still finite


class MidasState:
    """Sketches and all that goes with them.

    Parameters
    ----------
    settings : MidasSettings
        Gives the sizes.

    Attributes
    ----------
    learned : int
        Edges learned.
    text_salts : array of uint64, shape (2,)
        Of the nodes that are texts.
    salts : array of uint64, shape (sketches * rows + 1,)
        See ``midas_kernel.run``, as for ``head`` and ``cells``.
    head : array of float64, shape (4,)
    cells : array of float64
    quantile : ScoreQuantile or None
        None where edges have no label.
    """

    def __init__(self, settings: MidasSettings) -> None:
        self._settings = settings
        self.learned = 0
        self._salts = salts_of(settings.seed, settings.sketches * settings.rows + 3)
        self.head: NDArray[np.float64] = np.zeros(_HEAD_NUMBERS)
        self.cells: NDArray[np.float64] = np.zeros(settings.cells)
        self.quantile = None if settings.quantile is None else ScoreQuantile(settings.quantile)
        self._share_salts()

    def _share_salts(self) -> None:
        self.text_salts, self.salts = self._salts[:2], self._salts[2:]

    def dump(self) -> bytes:
        """Return the state as bytes, the same for the same state."""
        # One kind of number beside the other, and their bytes by rank: small counts are mostly zero bytes.
        planes = np.ascontiguousarray(self.cells.astype("<f8").view(np.uint8).reshape(-1, 8 * self._settings.fields).T)
        parts = [self._salts.astype("<u8").tobytes(), self.head.astype("<f8").tobytes(), planes.tobytes()]
        if self.quantile is not None:
            parts.append(self.quantile.counts.astype("<i8").tobytes())
        body = b"".join(parts)
        head = _HEAD.pack(PROTOCOL, 0, self._settings.digest, self.learned, self.quantile is not None, len(body))
        rest = head[_CHECKED_FROM:] + zlib.compress(body, _LEVEL)
        return struct.pack(">BI", PROTOCOL, zlib.crc32(rest)) + rest

    @classmethod
    def restore(cls, settings: MidasSettings, blob: bytes) -> MidasState:
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
        _, check, digest, learned, counted, size = _HEAD.unpack_from(blob)
        if zlib.crc32(memoryview(blob)[_CHECKED_FROM:]) != check:
            raise SnapshotError("the snapshot is damaged: its checksum does not fit.")
        if digest != settings.digest:
            what = "the snapshot was learned with another variant, tick, size, seed or decay, or with other inputs"
            raise SnapshotError(f"{what}; to begin anew, give the model another name.")
        numbers = settings.sketches * settings.rows + 3 + _HEAD_NUMBERS + settings.cells
        counts = CLASSES if counted else 0
        if size != 8 * (numbers + counts):
            raise SnapshotError("the snapshot is damaged: it is not as long as its sketches.")
        body = _inflate(blob[_HEAD.size :], size)
        state = cls(settings)
        state._fill(learned, body, counts)
        return state

    def _fill(self, learned: int, body: bytes, counts: int) -> None:
        salts, cells, fields = len(self._salts), len(self.cells), self._settings.fields
        self._salts = np.frombuffer(body, "<u8", salts).astype(np.uint64)
        self._share_salts()
        self.head = np.frombuffer(body, "<f8", _HEAD_NUMBERS, 8 * salts).astype(np.float64)
        begin = 8 * (salts + _HEAD_NUMBERS)
        planes = np.frombuffer(body, np.uint8, 8 * cells, begin).reshape(8 * fields, -1)
        self.cells = np.ascontiguousarray(planes.T).view("<f8").astype(np.float64).reshape(-1)
        self.learned = learned
        self._audit()
        if counts and self.quantile is not None:
            self.quantile.take(np.frombuffer(body, "<i8", counts, begin + 8 * cells).astype(np.int64))

    def _audit(self) -> None:
        """Raise SnapshotError for numbers that no edges can have left."""
        origin, tick, clock, growth = self.head
        whole = all(float(number).is_integer() for number in (origin, tick, clock))
        times = max(abs(origin), tick, clock) <= _LARGEST_TIME
        if not (whole and times and np.isfinite(growth)) or min(tick, clock, growth) < min(self.learned, 1):
            raise SnapshotError("the snapshot is damaged: its clock cannot be.")
        table = self.cells.reshape(-1, self._settings.fields)
        held = table[:, 3:]  # no growth, or one that there has been
        odd = ((held != 0) & ((held < 1) | (held > growth))).any() or table[:, 2].max() > clock
        # Of NaN and infinity, too, it is not true that they lie within.
        if odd or not (table.min() >= 0 and table.max() < _LARGEST_NUMBER):
            raise SnapshotError("the snapshot is damaged: a sketch holds a number that cannot be.")


def _inflate(packed: bytes, size: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, size)
    except zlib.error as error:
        raise SnapshotError(f"the snapshot is damaged ({error}).") from error
    # A stream of the right length has no more to give, and its end has been read.
    if len(body) != size or stream.decompress(stream.unconsumed_tail, 1) or not stream.eof or stream.unused_data:
        raise SnapshotError("the snapshot is damaged: it is not as long as it says.")
    return body
