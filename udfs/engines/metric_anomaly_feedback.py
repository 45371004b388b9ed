"""What people said of alarms: the threshold of a metric, moved by its own mistakes alone."""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Sequence
from math import isfinite, log10

from thalweg.connector.errors import SnapshotError

__all__ = ["Feedback", "fingerprint"]

MOST = 256
"""Events that are remembered, for feedback about them."""

_HEAD = struct.Struct("<d")
_EVENT = struct.Struct("<Qd")
_STEP = 0.5  # of the way from the threshold to the event that was judged wrongly
_MARGIN = 0.05  # beyond that: of -log10 of a p-value
_SHARE = 0.5  # of the threshold without feedback: the least that one becomes, and what an event must have to be kept


def fingerprint(values: Sequence[float | int]) -> int:
    """Return 64 bits that stand for the values of a row.

    Examples
    --------
    >>> fingerprint((1, 2.5)) == fingerprint((1.0, 2.5)) != fingerprint((1, 2.6))
    True
    """
    packed = struct.pack(f"<{len(values)}d", *(value + 0.0 for value in values))
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")


class Feedback:
    """Moves a threshold when an event was an alarm and is said to be none, or was none and is said to be one.

    As a perceptron it learns from mistakes only: what agrees with it changes nothing. Half of the way to the event that
    was judged wrongly, and a little more, so that a few such words settle it and none settles it alone. The threshold
    stays where an alarm is possible.

    Parameters
    ----------
    window : int
        Events that a value is compared with: evidence reaches log10 of it.

    Attributes
    ----------
    shift : float
        How far the threshold has moved, in -log10 of a p-value; above zero, alarms are rarer.

    Examples
    --------
    >>> feedback = Feedback(window=4000)
    >>> feedback.note(7, 2.8, least=2.0)
    >>> feedback.judge(7, False, 2.0)
    >>> round(feedback.shift, 3)
    0.45
    """

    def __init__(self, window: int) -> None:
        self.shift = 0.0
        self._highest = log10(window)
        self._noted: OrderedDict[int, float] = OrderedDict()

    def note(self, event: int, evidence: float, least: float) -> None:
        """Remember an event that is, or nearly is, an alarm; ``least`` is the threshold without feedback."""
        if evidence >= _SHARE * least:
            self._noted.pop(event, None)
            self._noted[event] = evidence
            if len(self._noted) > MOST:
                self._noted.popitem(last=False)

    def judge(self, event: int, anomaly: bool, least: float) -> None:
        """Take what somebody says of an event; of one that is not remembered it changes nothing.

        Parameters
        ----------
        event : int
            Its fingerprint.
        anomaly : bool
            Whether it was one.
        least : float
            The threshold without feedback, in -log10 of a p-value.
        """
        evidence = self._noted.get(event)
        threshold = least + self.shift
        if evidence is None or (evidence >= threshold) == anomaly:
            return
        moved = threshold + _STEP * (evidence - threshold) + (-_MARGIN if anomaly else _MARGIN)
        self.shift = min(max(moved, _SHARE * least), max(self._highest, least)) - least

    def dump(self) -> bytes:
        """Return it as bytes; no bytes where there is nothing in it."""
        if not self._noted and not self.shift:
            return b""
        return _HEAD.pack(self.shift) + b"".join(_EVENT.pack(*pair) for pair in self._noted.items())

    @staticmethod
    def fits(size: int) -> bool:
        """Return whether ``dump`` may have written so many bytes."""
        return size == 0 or (size % _EVENT.size == _HEAD.size and size <= _HEAD.size + MOST * _EVENT.size)

    def load(self, data: bytes) -> None:
        """Take what ``dump`` wrote; raises SnapshotError where a number cannot be."""
        if not data:
            return
        (self.shift,) = _HEAD.unpack_from(data)
        self._noted = OrderedDict(_EVENT.iter_unpack(data[_HEAD.size :]))
        events = (len(data) - _HEAD.size) // _EVENT.size
        if not all(isfinite(n) and abs(n) < 100 for n in (self.shift, *self._noted.values())):
            raise SnapshotError("the snapshot is damaged: it holds a threshold that cannot be.")
        if len(self._noted) != events:
            raise SnapshotError("the snapshot is damaged: it holds an event twice.")
