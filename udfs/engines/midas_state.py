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
from thalweg.udfs.engines.sealed import check_counts, inflate, open_sealed, seal

__all__ = ["MidasState"]

# edges learned, whether there are counts of scores, bytes of salts, head, cells and counts before they were compressed
_HEAD = struct.Struct(">Q?Q")
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
        head = _HEAD.pack(self.learned, self.quantile is not None, len(body))
        return seal(self._settings.digest, head + zlib.compress(body, _LEVEL))

    @classmethod
    def restore(cls, settings: MidasSettings, blob: bytes) -> MidasState:
        """Return the state that ``dump`` wrote.

        Raises
        ------
        SnapshotError
            Damaged, hostile, of another protocol, or of another model; sizes are checked before anything is built.
        """
        content = open_sealed(
            blob, settings.digest, _HEAD.size, "another variant, tick, size, seed or decay, or with other inputs"
        )
        learned, counted, size = _HEAD.unpack_from(content)
        check_counts(learned)
        numbers = settings.sketches * settings.rows + 3 + _HEAD_NUMBERS + settings.cells
        counts = CLASSES if counted else 0
        if size != 8 * (numbers + counts):
            raise SnapshotError("the snapshot is damaged: it is not as long as its sketches.")
        body = inflate(bytes(content[_HEAD.size :]), size)
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
