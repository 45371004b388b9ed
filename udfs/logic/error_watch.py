"""Tells when a model has become worse for good: the default of all that reacts to drift."""

from __future__ import annotations

import struct
from math import isfinite, log
from typing import Any

import numpy as np
from river import drift
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.safe_pickle import dumps, loads
from thalweg.udfs.logic.live_state import LiveState, damage_told

__all__ = ["COOL_DOWN", "GROUP", "WATCH_MAGIC", "ErrorWatch", "error_of_loss"]

GROUP = 32
"""Errors that are shown to the detector at once."""

COOL_DOWN = 1000
"""Errors after a drift in which there is no second one."""

WATCH_MAGIC = b"TWE1"
"""With what its bytes begin."""

_HEAD = struct.Struct(">4sQQQqdddddI")
_LOOK_EVERY = 4  # groups: to look for a cut is nearly all that ADWIN costs
_NEWEST = 0.25  # weight of a group in the mean of the newest: most of it is in 256 errors
_LEAST_GROUPS = 10  # before that nothing is usual
_SCALE_OVER = 10_000  # losses over which the size of a number's loss fades
_HALF = log(2.0)  # the log loss of one half: above it another class was predicted


def error_of_loss(loss: float, task: str, output: str) -> float | None:
    """Return the error, 0 or 1, in what ``loss.loss_of`` gave; None where the loss has to be scaled first.

    Parameters
    ----------
    loss : float
        Log loss of a boolean, 0 or 1 of more classes, squared error of a number.
    task, output : str
        Task of the model and kind of its output.

    Examples
    --------
    >>> error_of_loss(0.2, "classification", "boolean"), error_of_loss(1.0, "classification", "string")
    (0.0, 1.0)
    """
    if task != "classification":
        return None
    return float(loss > (_HALF if output == "boolean" else 0.5))


class ErrorWatch(LiveState):
    """River's ADWIN over errors, fed as it has to be.

    - The input is an error between 0 and 1, for ADWIN's bound is that of such numbers: whether another class was
      predicted, or of numbers ``loss / (loss + mean loss)``. What is not finite is skipped: one NaN would end it.
    - It is shown the *sum* of 32 errors: the same bound as for each of them, at a thirtieth of the time. (The mean of
      32 would make the bound 32 times too wide.) After each fourth group it looks for a cut.
    - Only a rise counts: the newest errors, mean over about 256, lie above all that ADWIN remembers. ADWIN also finds
      that a model has become better.
    - After a drift there is none for 1,000 errors: ADWIN cuts its window in several steps.

    ``python -m tests.bench drift`` holds this against the other detectors.

    References
    ----------
    Bifet and Gavalda, Learning from Time-Changing Data with Adaptive Windowing (2007).

    Examples
    --------
    >>> watch = ErrorWatch()
    >>> [n for n in range(4000) if watch.add(float(n % 10 == 0 or (n > 2000 and n % 2 == 0)))]
    [2175]
    >>> ErrorWatch.load(watch.state()).drifts
    1
    """

    def __init__(self) -> None:
        super().__init__()
        self.drifts = self.watched = self.skipped = 0
        self._last_at = -COOL_DOWN
        self._sum, self._newest = 0.0, 0.0
        self._loss, self._losses = 0.0, 0.0
        self._usual = 0.0
        self._adwin = _adwin()

    @classmethod
    def load(cls, data: bytes) -> ErrorWatch:
        """Return the state that ``state`` wrote; raises SnapshotError."""
        found = cls()
        with damage_told("the watch for drift"):
            magic, found.drifts, found.watched, found.skipped, found._last_at, *rest = _HEAD.unpack_from(data)
            found._sum, found._newest, found._loss, found._losses, found._usual, length = rest
            found._adwin = loads(data[_HEAD.size :])
            if magic != WATCH_MAGIC or length != len(data) - _HEAD.size or type(found._adwin) is not drift.ADWIN:
                raise SnapshotError("the state of the watch for drift is damaged: it begins with other bytes.")
        found._bytes = data
        return found

    def add_loss(self, loss: float, task: str, output: str) -> bool:
        """Watch one loss of ``loss.loss_of``, and return whether the model has just become worse for good."""
        error = error_of_loss(loss, task, output)
        return self.add(self.scaled(loss) if error is None else error)

    def scaled(self, loss: float) -> float:
        """Return a loss without its unit, between 0 and 1: one half is a loss of the usual size."""
        if not (isfinite(loss) and 0 <= loss < 1e150):
            return float("nan")
        self._bytes = None
        mean = self._loss
        self._losses += 1.0
        self._loss += (loss - mean) / min(self._losses, _SCALE_OVER)
        return loss / (loss + mean) if mean + loss > 0 else 0.5

    def add(self, error: float) -> bool:
        """Watch one error between 0 and 1, and return whether the model has just become worse for good."""
        self._bytes = None
        if not 0.0 <= error <= 1.0:
            self.skipped += 1
            return False
        self._sum += error
        self.watched += 1
        return self.watched % GROUP == 0 and self._shown()

    def add_all(self, errors: Any) -> list[int]:
        """Watch errors, and return after which of them there was a drift, counted from 0."""
        self._bytes = None
        values = np.asarray(errors, dtype=np.float64)
        places = np.flatnonzero((values >= 0.0) & (values <= 1.0))
        self.skipped += len(values) - len(places)
        kept, found, at = values[places], [], min(len(places), -self.watched % GROUP)
        for error in kept[:at].tolist():
            if self.add(error):
                found.append(int(places[at - 1]))
        full = (len(kept) - at) // GROUP
        # One after the other, as in ``add``: the same bits.
        sums = np.cumsum(kept[at : at + full * GROUP].reshape(full, GROUP), axis=1)[:, -1:].ravel().tolist()
        for group in sums:
            at += GROUP
            self.watched += GROUP
            self._sum = group
            if self._shown():
                found.append(int(places[at - 1]))
        for error in kept[at:].tolist():
            self.add(error)
        return found

    def _shown(self) -> bool:
        group, self._sum = self._sum, 0.0
        self._newest += (group - self._newest) * max(_NEWEST, GROUP / self.watched)
        self._usual = before = self._adwin.estimation
        self._adwin.update(group)
        worse = self._adwin.drift_detected and self._newest > before
        if not worse or self.watched - self._last_at < COOL_DOWN:
            return False
        self.drifts += 1
        self._last_at = self.watched
        return True

    def rates(self) -> tuple[float, float]:
        """Return the newest mean error, and that of all that is remembered; before the last drift is forgotten."""
        return self._newest / GROUP, self._usual / GROUP

    def warns(self) -> bool | None:
        """Return whether the newest errors are strangely many; None where that is neither so nor over.

        Strange is two deviations of their mean above the usual, as in DDM; over is less than half a deviation above it.
        """
        usual, newest = self._adwin.estimation / GROUP, self._newest / GROUP
        deviation = (max(usual * (1 - usual), 1e-6) / (GROUP / _NEWEST)) ** 0.5
        if self._adwin.width < _LEAST_GROUPS or newest < usual + deviation / 2:
            return False
        return True if newest > usual + 2 * deviation else None

    def dump(self) -> bytes:
        """Return the counts and River's detector as bytes."""
        body = dumps(self._adwin)
        numbers = (self.drifts, self.watched, self.skipped, self._last_at)
        means = (self._sum, self._newest, self._loss, self._losses, self._usual)
        return _HEAD.pack(WATCH_MAGIC, *numbers, *means, len(body)) + body


def _adwin() -> Any:
    return drift.ADWIN(clock=_LOOK_EVERY, grace_period=10)
