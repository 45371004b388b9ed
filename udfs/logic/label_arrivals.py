"""How many events get their label, and how long that takes."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["LabelArrivals"]

_PER_OCTAVE = 8
_BINS = 41 * _PER_OCTAVE  # up to 2**41 ms, 70 years
_SPAN = 64  # the newest closed parts that the rolling coverage spans: as long as the label timeout


class LabelArrivals:
    """Label coverage and label delay of one model.

    The coverage counts events whose time to get a label is over, so that labels which are merely not there yet do no
    harm; a label that stands in by default is none. Delays fall into fixed bins, 8 per doubling: a quantile is right
    to 5 per cent. Counts of parallel parts add up.

    Parameters
    ----------
    grain_ms, timeout_ms : int
        Events are counted by their time in parts of ``grain_ms``; a part is closed ``timeout_ms`` after its end.
    """

    def __init__(self, grain_ms: int, timeout_ms: int) -> None:
        self._grain, self._timeout = grain_ms, timeout_ms
        self._parts: dict[int, list[int]] = {}  # events and labels, by part
        self._closed = [0, 0]  # events and labels of the parts that are too old for the rolling coverage
        self._delays = np.zeros(_BINS, dtype=np.int64)

    def add(self, event_ms: Any, is_event: Any, is_label: Any, delay_ms: Any, now_ms: int) -> None:
        """Count rows: which are an event, which a label in time, and the delays of those that have one."""
        for at, which in enumerate((is_event, is_label)):
            parts, times = np.unique(event_ms[which] // self._grain, return_counts=True)
            for part, count in zip(parts.tolist(), times.tolist(), strict=True):
                self._parts.setdefault(part, [0, 0])[at] += count
        if len(delay_ms):
            bins = (_PER_OCTAVE * np.log2(np.maximum(delay_ms, 0) + 1.0)).astype(np.int64)
            self._delays += np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)
        if len(self._parts) > 4 * _SPAN:
            self._over(now_ms)

    def _over(self, now_ms: int) -> list[int]:
        """Return the newest parts whose time is over, and fold the older ones together."""
        over = sorted(part for part in self._parts if (part + 1) * self._grain + self._timeout <= now_ms)
        old = [part for part in over if part <= over[-1] - _SPAN]
        for part in old:
            events, labels = self._parts.pop(part)
            self._closed = [self._closed[0] + events, self._closed[1] + labels]
        return over[len(old) :]

    def measures(self, now_ms: int) -> list[tuple[str, str, float, int]]:
        """Return metric, window, value and count of all that can be said as of ``now_ms``."""
        newest = [self._parts[part] for part in self._over(now_ms)]
        rolling = [sum(column) for column in zip(*newest, strict=True)] if newest else [0, 0]
        found = []
        for window, (events, labels) in (
            ("cumulative", [a + b for a, b in zip(self._closed, rolling, strict=True)]),
            ("rolling", rolling),
        ):
            if events > 0:
                found.append(("label-coverage", window, min(labels / events, 1.0), events))
        total = int(self._delays.sum())
        if total:
            reached = np.cumsum(self._delays)
            for name, share in (("p50", 0.5), ("p95", 0.95)):
                at = int(np.searchsorted(reached, share * total))
                value = float(2.0 ** ((at + 0.5) / _PER_OCTAVE) - 1) if at else 0.0
                found.append((f"label-delay-ms.{name}", "cumulative", value, total))
        return found

    def merge(self, other: LabelArrivals) -> None:
        """Add the rows of another part with the same grain and timeout: all counts are exact."""
        for part, counts in other._parts.items():
            mine = self._parts.setdefault(part, [0, 0])
            self._parts[part] = [a + b for a, b in zip(mine, counts, strict=True)]
        self._closed = [a + b for a, b in zip(self._closed, other._closed, strict=True)]
        self._delays = self._delays + other._delays

    def state(self) -> list[Any]:
        """Return the state as plain values."""
        filled = np.flatnonzero(self._delays)
        return [sorted(self._parts.items()), self._closed, filled.tolist(), self._delays[filled].tolist()]

    def load(self, state: list[Any]) -> None:
        """Take over what ``state`` gave."""
        parts, self._closed, filled, counts = state
        self._parts = {part: count for part, count in parts}
        self._delays[filled] = counts
