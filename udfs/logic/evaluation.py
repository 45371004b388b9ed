"""Prequential evaluation of one model: a pure machine, fed in the order of time.

Each row says that an event was predicted, or what became of a label. The machine keeps the books: every event is
matched, expired or pending; every label is matched, late, a duplicate, or of an unknown event.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.logic.alert_rules import Alert, AlertBook, judged
from thalweg.udfs.logic.label_arrivals import LabelArrivals
from thalweg.udfs.logic.never import NEVER
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.scorecard import Metric, Scorecard, Watch, truth_kind
from thalweg.udfs.logic.signals import Signals

__all__ = [
    "CORRECTED",
    "DEFAULTED",
    "DUPLICATE",
    "LATE",
    "MATCHED",
    "NOTE",
    "OVERTAKEN",
    "PREDICTED",
    "TOGETHER",
    "UNKNOWN",
    "WITHDRAWN",
    "Evaluator",
    "Metric",
    "Watch",
]

PREDICTED, MATCHED, DUPLICATE, UNKNOWN, LATE, OVERTAKEN, TOGETHER, DEFAULTED, CORRECTED, WITHDRAWN, NOTE = range(11)
"""Row kinds: an event was predicted; its label came; a second label; a label of no event so far; a label after the
timeout; an event was predicted whose label, counted as unknown, had come before it; an event came with its label; no
label came in time and the default stands for it; another one came after all; the default that it replaces; events in
short, see ``signals``."""

_PROTOCOL = b"\x02"
_COUNTS = (
    "events",
    "labels_matched",
    "labels_duplicate",
    "labels_unknown",
    "labels_late",
    "labels_expired",
    "not_ready",
    "labels_defaulted",
    "labels_corrected",
)
_EVALUATED = (MATCHED, OVERTAKEN, TOGETHER, DEFAULTED)
_EVENTS = (PREDICTED, OVERTAKEN, TOGETHER)
_IS_EVALUATED, _IS_EVENT = (np.isin(np.arange(11), kinds) for kinds in (_EVALUATED, _EVENTS))
# What a row of each kind adds to events, and to labels matched, duplicate, unknown, late, defaulted and corrected.
_COUNTED = (*_COUNTS[:5], *_COUNTS[7:])
_EFFECT = np.zeros((7, 11), dtype=np.int64)
_EFFECT[:5, :5] = np.eye(5)
_EFFECT[:4, OVERTAKEN] = (1, 1, 0, -1)
_EFFECT[:2, TOGETHER] = 1
_EFFECT[5, DEFAULTED] = _EFFECT[6, CORRECTED] = 1


class Evaluator:
    """Metrics and label books of one model.

    A model has one of these whatever the parallelism of its job, so its figures are those of a single thread. What in
    it does not ask for the order of rows merges: ``measures.Totals``, ``label_arrivals.LabelArrivals``.

    Parameters
    ----------
    task : str
        Task of the model.
    metrics : sequence of str
        Names of the metrics.
    every : Every
        How often to emit, in labelled events or in stream time; emissions stand on whole multiples of it.
    window : int
        Labelled events in the rolling window.
    label_timeout_ms : int
        After that an event without a label has expired. Known to 1/64 of itself.
    watch : Watch
        What else is measured.
    """

    def __init__(
        self,
        task: str,
        metrics: Sequence[str],
        every: Every,
        window: int,
        label_timeout_ms: int,
        watch: Watch = Watch(),  # noqa: B008  # a tuple never changes
    ) -> None:
        self.arguments = (task, tuple(metrics), every, window, label_timeout_ms, watch)
        self._every = every
        self._timeout = label_timeout_ms
        self._grain = max(1, label_timeout_ms // 64)
        self.counts = dict.fromkeys(_COUNTS, 0)
        self._labelled_at_all = watch.labelled
        self._card = Scorecard(task, metrics, window, watch)
        self._signals = Signals(truth_kind(task, watch.output), window, watch.attention)
        self._arrivals = LabelArrivals(self._grain, label_timeout_ms)
        self._book = AlertBook(watch.rules)
        self._alerts: list[Alert] = []
        self._open: dict[int, int] = {}  # events that still wait, by the grain of their time
        self._first_ms = NEVER
        self._now_ms = NEVER
        self._next = NEVER

    def on_rows(self, columns: Sequence[Sequence[Any]]) -> list[Metric]:
        """Take a block of rows and return what is due to be emitted.

        Parameters
        ----------
        columns : sequence of sequences
            ``kind``, ``event_time_ms``, ``time_ms`` (when the row came to be), ``score``, ``truth`` (as a number; a
            class: 1.0 or 0.0 for booleans, else 0.0), ``right``, ``p_true``; score is NaN where the model was not
            ready. For models of classes, or with slices, also the class that was predicted, the true one, and the
            values of the slices as a JSON array, as text; empty where there is nothing of the kind. Then, where
            something beside the labels is watched, the score of every row, NaN where there is none, and the notes.
        """
        kind = np.asarray(columns[0], dtype=np.int64)
        event_ms = np.asarray(columns[1], dtype=np.int64)
        time_ms = np.asarray(columns[2], dtype=np.int64)
        values = self._card.values(columns)
        served = np.asarray(columns[10] if len(columns) > 10 else columns[3], dtype=np.float64)
        notes = columns[11] if len(columns) > 11 else ()
        if len(notes):
            timed = self._signals.take_timeless(notes)
            kind, event_ms, time_ms, values, served = (a[timed] for a in (kind, event_ms, time_ms, values, served))
            notes = [text for text, is_timed in zip(notes, timed.tolist(), strict=True) if is_timed]
        # A label of a late row has an old time; the clock of the books never runs back.
        time_ms = np.maximum(np.maximum.accumulate(time_ms), self._now_ms)
        emitted: list[Metric] = []
        at = 0
        while at < len(kind):
            emitted += self.on_time(int(time_ms[at]))
            stop = self._stretch(kind, time_ms, at)
            self._signals.take_notes(notes[at:stop])
            self._take(kind[at:stop], event_ms[at:stop], time_ms[at:stop], values[at:stop], served[at:stop])
            at = stop
            if self._every.events is not None and self._labelled() >= self._next:
                emitted += self._emit(self._now_ms)
        return emitted

    def take_alerts(self) -> list[Alert]:
        """Return the alerts since the last call."""
        alerts, self._alerts = self._alerts, []
        return alerts

    def on_time(self, now_ms: int) -> list[Metric]:
        """Emit what is due when stream time has reached ``now_ms``.

        Whether a row or the clock comes first makes no difference: an emission stands on the first multiple of the
        interval after a change, and a change is a row, or the end of the time in which an event can get its label.
        """
        emitted: list[Metric] = []
        while self._every.time_ms is not None and NEVER < self._next <= now_ms:
            emitted += self._emit(self._next)
        return emitted

    def wake_at(self) -> int | None:
        """Return the stream time of the next emission, epoch ms; None where none is due."""
        return None if self._every.time_ms is None or self._next == NEVER else self._next

    def pending(self) -> int:
        """Return how many events still wait for a label."""
        return sum(self._open.values())

    def _labelled(self) -> int:
        return self.counts["labels_matched"] + self.counts["labels_defaulted"]

    def _stretch(self, kind: Any, time_ms: Any, at: int) -> int:
        """Return the end of the rows from ``at`` on that come before the next emission, at least one."""
        if self._first_ms == NEVER:
            self._first_ms = int(time_ms[at])
        if self._every.time_ms is None:
            if self._next == NEVER:
                self._next = self._every.events or 1
            matched = np.flatnonzero(_IS_EVALUATED[kind[at:]])
            room = self._next - self._labelled()
            return len(kind) if len(matched) < room else at + int(matched[room - 1]) + 1
        self._next = (int(time_ms[at]) // self._every.time_ms + 1) * self._every.time_ms
        beyond = np.flatnonzero(time_ms[at:] >= self._next)
        return at + int(beyond[0]) if len(beyond) else len(kind)

    def _take(self, kind: Any, event_ms: Any, time_ms: Any, values: Any, served: Any) -> None:
        """Count rows and feed the metrics."""
        for name, number in zip(_COUNTED, (_EFFECT @ np.bincount(kind, minlength=11)).tolist(), strict=True):
            self.counts[name] += number
        for step, which in ((1, PREDICTED), (-1, MATCHED), (-1, DEFAULTED)):
            grains, times = np.unique(event_ms[kind == which] // self._grain, return_counts=True)
            for grain, count in zip(grains.tolist(), times.tolist(), strict=True):
                waiting = self._open.pop(grain, 0) + step * count
                if waiting:
                    self._open[grain] = waiting
        self._now_ms = int(time_ms[-1])
        self._expire(self._now_ms)
        matched = kind == MATCHED
        labelled = matched | (kind == TOGETHER) | (kind == OVERTAKEN)
        self._arrivals.add(
            event_ms,
            (labelled & ~matched) | (kind == PREDICTED),
            labelled,
            (time_ms - event_ms)[matched],
            self._now_ms,
        )
        first, answered = _IS_EVALUATED[kind], np.isfinite(values[:, 0])
        self.counts["not_ready"] += int(first.sum() - (first & answered).sum())
        events, fresh = _IS_EVENT[kind], values[first & answered]
        if not self._labelled_at_all:
            self.counts["not_ready"] += int(np.isnan(served[events]).sum())
        self._signals.take(served[events], *fresh[:, :3].T)
        weight = (first.astype(np.int64) + (kind == CORRECTED) - (kind == WITHDRAWN)) * answered
        used = weight != 0
        if not used.any():
            return
        self._card.add(time_ms[used], values[used], weight[used], (first & answered)[used])

    def _expire(self, now_ms: int) -> None:
        """Close the grains whose events can get no label any more."""
        for grain in [grain for grain in self._open if self._closes(grain) <= now_ms]:
            self.counts["labels_expired"] += self._open.pop(grain)

    def _closes(self, grain: int) -> int:
        return (grain + 1) * self._grain + self._timeout

    def _emit(self, at_ms: int) -> list[Metric]:
        """Return all metrics as of ``at_ms``, and set the next emission."""
        self._now_ms = max(self._now_ms, at_ms)
        self._expire(at_ms)
        if self._every.time_ms is None:
            self._next += self._every.events or 1
        else:
            closes = min(map(self._closes, self._open), default=NEVER)
            self._next = -(-closes // self._every.time_ms) * self._every.time_ms if closes != NEVER else NEVER
        out = self._card.measured(self._first_ms, at_ms)
        self._signals.close()
        for name, value in (*self.counts.items(), ("labels_pending", self.pending())):
            if not self._labelled_at_all and name.startswith("labels_"):
                continue
            out.append(Metric(name, "cumulative", float(value), self.counts["events"], self._first_ms, at_ms))
        arrivals = self._arrivals.measures(at_ms) if self._labelled_at_all else []
        for name, window, share, count in (*arrivals, *self._signals.measures()):
            out.append(Metric(name, window, share, count, self._first_ms, at_ms))
        out += self._card.sliced(self._first_ms, at_ms)
        self._alerts += self._book.judge(judged(out), at_ms)
        return out

    def dump(self) -> bytes:
        """Return the state as bytes, first byte the protocol number."""
        card, histogram, recent = self._card.dump()
        head = json.dumps(
            {
                "counts": self.counts,
                **card,
                "arrivals": self._arrivals.state(),
                "alerts": self._book.state(),
                "signals": self._signals.state(),
                "open": sorted(self._open.items()),
                "first_ms": self._first_ms,
                "now_ms": self._now_ms,
                "next": self._next,
            },
            separators=(",", ":"),
        ).encode()
        parts = (head, histogram, recent)
        return _PROTOCOL + b"".join(struct.pack("<I", len(part)) + part for part in parts)

    def load(self, blob: bytes) -> None:
        """Take over the state that ``dump`` wrote.

        Raises
        ------
        SnapshotError
            The bytes are of another protocol or damaged.
        """
        if blob[:1] not in (b"\x01", _PROTOCOL):
            raise SnapshotError(
                f"evaluation state has protocol {blob[:1].hex() or 'none'}, this version reads 01 and 02."
            )
        parts, at = [], 1
        while at < len(blob):
            if at + 4 > len(blob):
                break
            (length,) = struct.unpack_from("<I", blob, at)
            parts.append(blob[at + 4 : at + 4 + length])
            at += 4 + length
        if len(parts) != 3 or at != len(blob):
            raise SnapshotError("evaluation state is damaged: its parts do not add up.")
        head = json.loads(parts[0])
        self.counts.update(head["counts"])
        self._first_ms, self._now_ms, self._next = head["first_ms"], head["now_ms"], head["next"]
        self._open = {grain: count for grain, count in head["open"]}
        self._card.load(head, parts[1], parts[2])
        if blob[:1] == _PROTOCOL:
            self._arrivals.load(head["arrivals"])
            self._book.load(head["alerts"])
        if "signals" in head:
            self._signals.load(head["signals"])

    def __reduce__(self) -> tuple[Any, ...]:
        # Flink's Python state pickles what it stores; all there is in that pickle is plain arguments and our own bytes.
        return (_revive, (*self.arguments, self.dump()))


def _revive(task: str, metrics: Sequence[str], every: Every, window: int, timeout_ms: int, *rest: Any) -> Evaluator:
    *watch, blob = rest  # the first protocol had no watch
    evaluator = Evaluator(task, metrics, every, window, timeout_ms, *watch)
    evaluator.load(blob)
    return evaluator
