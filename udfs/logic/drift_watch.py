"""A drift detector over a group: how many drifts, and when the last one was."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple

from thalweg.connector.errors import ConfigError, Problem, SnapshotError
from thalweg.udfs.engines.model_text import ModelText
from thalweg.udfs.engines.safe_pickle import dumps, loads
from thalweg.udfs.logic.live_state import LiveState, damage_told, named_part

__all__ = ["DETECTORS", "DriftCount", "DriftWatch"]

_BINARY = ("DDM", "EDDM", "FHDDM", "HDDM_A", "HDDM_W")
DETECTORS = {**{name: "drift" for name in ("ADWIN", "KSWIN", "PageHinkley")}, **dict.fromkeys(_BINARY, "drift.binary")}
"""The detectors that can be named, each with its module in River; those of drift.binary watch errors: true or false."""

_MAGIC = b"TWD1"
_HEAD = struct.Struct(">4sQQQQI")
_LARGEST = 1e150  # its square is still finite


class DriftCount(NamedTuple):
    """What a detector has seen so far.

    Attributes
    ----------
    drifts : int
        Drifts detected.
    n : int
        Values watched.
    last_at : int or None
        After how many watched values the last drift was detected; None before the first.
    skipped : int
        Values that were NULL, not finite, or not what the detector takes. None was shown to it: one NaN would silence
        it for ever.
    """

    drifts: int
    n: int
    last_at: int | None
    skipped: int


@lru_cache(maxsize=256)
def _named(text: str) -> tuple[str, ModelText]:
    return named_part("drift", "detector", text, DETECTORS)


class DriftWatch(LiveState):
    """The detector of one group.

    Examples
    --------
    >>> watch = DriftWatch()
    >>> for n in range(2000):
    ...     watch.add("ADWIN(delta=0.01)", 0.2 if n < 1000 else 0.8)
    >>> watch.add("ADWIN(delta=0.01)", float("nan"))
    >>> watch.value()
    DriftCount(drifts=1, n=2000, last_at=1024, skipped=1)
    >>> DriftWatch.load(watch.state()).value() == watch.value()
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self._text: str | None = None
        self._binary = False
        self._detector: Any = None
        self._drifts = self._n = self._last_at = self._skipped = 0

    @classmethod
    def load(cls, data: bytes) -> DriftWatch:
        """Return the state that ``state`` wrote; raises SnapshotError."""
        found = cls()
        with damage_told("drift"):
            magic, found._drifts, found._n, found._last_at, found._skipped, length = _HEAD.unpack_from(data)
            text = json.loads(data[_HEAD.size : _HEAD.size + length])
            if magic != _MAGIC or type(text) is not str:
                raise SnapshotError("the state of drift is damaged: it begins with other bytes.")
            found._begin(text)
            kept = type(found._detector)
            found._detector = loads(data[_HEAD.size + length :])
            if type(found._detector) is not kept:
                raise SnapshotError("the state of drift is damaged: it holds another detector than it says.")
        found._bytes = data
        return found

    def add(self, text: object, value: Any) -> None:
        """Watch one value, or skip it.

        Raises
        ------
        ConfigError
            There is no such detector, or it changes within the group.
        """
        self._bytes = None
        if self._text is None or (text is not self._text and text != self._text):
            if self._text is not None:
                what = f"the detector changes within a group, from '{self._text[:80]}' to '{str(text)[:80]}'."
                raise ConfigError([Problem("drift", what, "Give a literal, or add the name to GROUP BY.")])
            self._begin(text if isinstance(text, str) else "")
        seen = self._seen(value)
        if seen is None:
            self._skipped += 1
            return
        self._detector.update(seen)
        self._n += 1
        if self._detector.drift_detected:
            self._drifts += 1
            self._last_at = self._n

    def _begin(self, text: str) -> None:
        name, read = _named(text)
        self._binary = name in _BINARY
        self._detector = read.construct()
        self._text = text

    def _seen(self, value: Any) -> Any:
        if not isinstance(value, (bool, int, float, Decimal)):
            return None
        number = float(value)
        if self._binary:
            return bool(number) if number in (0.0, 1.0) else None
        return number if isfinite(number) and abs(number) < _LARGEST else None

    def dump(self) -> bytes:
        """Return name, counts and River's detector as bytes."""
        name = json.dumps(self._text).encode()
        head = _HEAD.pack(_MAGIC, self._drifts, self._n, self._last_at, self._skipped, len(name))
        return head + name + dumps(self._detector)

    def value(self) -> DriftCount:
        """Return the counts."""
        return DriftCount(self._drifts, self._n, self._last_at or None, self._skipped)

    def level(self) -> float | None:
        """Return the detector's estimate of the present mean; None where it has none."""
        found = getattr(self._detector, "estimation", None)
        return None if found is None else float(found)
