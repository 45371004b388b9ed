"""What a model and its baselines are measured by: totals since the start, and the window of the newest events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.alert_rules import Rule
from thalweg.udfs.logic.baselines import BASELINES, Baselines
from thalweg.udfs.logic.measures import Answers, Totals, is_mean, measure
from thalweg.udfs.logic.signals import Attention
from thalweg.udfs.logic.slices import SliceBook, TextCodes

__all__ = ["Metric", "Scorecard", "Watch", "main_loss", "truth_kind"]

_MOST_CLASSES = 1000  # each pair of classes may have a count
_FIXED = 10  # columns of the window before those of slices: time, 4 of the answer, class, 4 of the baselines


class Metric(NamedTuple):
    """One figure at one time.

    Attributes
    ----------
    window : str
        ``cumulative``; ``rolling``, the newest events; ``fading``, the same with weights that halve.
    count : int
        Events behind it.
    slice : str
        Such as ``carrier=UA``; empty for all events.
    """

    metric: str
    window: str
    value: float
    count: int  # type: ignore[assignment]  # the contract's name; nobody counts the fields of a metric
    window_start_ms: int
    event_time_ms: int
    slice: str = ""


class Watch(NamedTuple):
    """What else is measured.

    Attributes
    ----------
    output : str
        Kind of the truth: ``boolean``, ``string``, ``number``.
    half_life : int or None
        Labelled events after which an event counts half in the fading metrics; None, they are not measured.
    slices : tuple of str
        Columns whose values are measured apart.
    rules : tuple of Rule
        When to alert.
    baselines : bool
        Whether the baselines run beside the model.
    attention : Attention
        What is watched beside the labels.
    labelled : bool
        Whether there are labels at all.
    """

    output: str = "boolean"
    half_life: int | None = None
    slices: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    baselines: bool = False
    attention: Attention = Attention()
    labelled: bool = True


def main_loss(task: str, output: str) -> str | None:
    """Return the metric by which a model is held against the baselines; None where there are none."""
    return (
        None
        if task in ("anomaly", "clustering", "next-item", "bandit")
        else ("MAE" if truth_kind(task, output) == "number" else "LogLoss")
    )


def truth_kind(task: str, output: str) -> str:
    """Return how the truth is read: ``boolean``, ``string`` or ``number``."""
    return (output if output in ("boolean", "string") else "string") if task == "classification" else "number"


class Scorecard:
    """Metrics of one model and of its baselines.

    Parameters
    ----------
    task, metrics, window, watch :
        As for ``Evaluator``.
    """

    def __init__(self, task: str, metrics: Sequence[str], window: int, watch: Watch) -> None:
        self._metrics, self._window, self._watch = tuple(metrics), window, watch
        self._kind, self._loss = truth_kind(task, watch.output), main_loss(task, watch.output)
        self._scored = 0
        beside = self._loss is not None and watch.baselines
        kept = tuple(dict.fromkeys((*metrics, *([self._loss] if self._loss is not None and beside else []))))
        probabilities = task == "classification"
        self._totals = Totals(kept, self._kind, probabilities)
        self._base_metrics = tuple(metric for metric in kept if beside and is_mean(metric))
        self._baselines = Baselines(self._kind)
        self._base_totals = [Totals(self._base_metrics, self._kind, probabilities) for _ in BASELINES]
        self._names = TextCodes(_MOST_CLASSES)
        self._slices = SliceBook(watch.slices, metrics, self._kind, self._loss)
        self._recent = np.zeros((0, _FIXED + len(watch.slices)))

    def values(self, columns: Sequence[Sequence[Any]]) -> Any:
        """Return the columns of ``Evaluator.on_rows`` as numbers: those of ``Answers``, then codes of slices."""
        score, truth, right, p_true = np.asarray(columns[3:7], dtype=np.float64)
        predicted = np.where(right > 0.5, truth, 1.0 - truth)
        texts = list(columns[7:]) + [()] * (10 - len(columns))
        if self._kind == "string" and len(texts[0]):
            truth = np.array(self._names.codes([text or "" for text in texts[1]]), dtype=np.float64)
            predicted = np.array(self._names.codes([text or "" for text in texts[0]]), dtype=np.float64)
        fixed = np.stack((score, truth, right, p_true, predicted), axis=1)
        if not self._watch.slices:
            return fixed
        return np.concatenate((fixed, self._slices.codes(texts[2] or [None] * len(score))), axis=1)

    def add(self, time_ms: Any, values: Any, weight: Any, fresh: Any) -> None:
        """Take rows that have an answer and a label.

        Parameters
        ----------
        time_ms, values :
            When, and rows of ``values``.
        weight : array of int, shape (n,)
            1, or -1 for a row that is taken back.
        fresh : array of bool, shape (n,)
            Which rows go into the window.
        """
        answers = Answers(*values[:, :5].T)
        self._scored += int(weight.sum())
        self._totals.add(answers, weight)
        if self._watch.slices:
            self._slices.add(values[:, 5:], answers, weight)
        given = np.zeros((4, len(values)))
        if self._base_metrics:
            given = self._baselines.on_rows(answers.truth, weight)
            for at, totals in enumerate(self._base_totals):
                totals.add(self._as_answers(answers.truth, *given[2 * at : 2 * at + 2]), weight)
        rows = np.concatenate((time_ms[:, None], values[:, :5], given.T, values[:, 5:]), axis=1)
        self._recent = np.concatenate((self._recent, rows[fresh]))[-self._window :]

    def _as_answers(self, truth: Any, given: Any, right: Any) -> Answers:
        """Return what a baseline gave as answers."""
        score = np.where(truth > 0.5, given, 1.0 - given) if self._kind == "boolean" else given
        return Answers(score, truth, right, given, truth)

    def _start(self, first_ms: int) -> int:
        return int(self._recent[0, 0]) if len(self._recent) else first_ms

    def measured(self, first_ms: int, at_ms: int) -> list[Metric]:
        """Return the metrics of model and baselines over all windows."""
        out: list[Metric] = []
        count, start = len(self._recent), self._start(first_ms)
        answers = Answers(*self._recent[:, 1:6].T)
        bases = [self._as_answers(answers.truth, *self._recent[:, at : at + 2].T) for at in (6, 8)]
        weights = {"rolling": np.ones(count)}
        if self._watch.half_life is not None:
            weights["fading"] = 0.5 ** (np.arange(count - 1, -1, -1.0) / self._watch.half_life)
        figures: dict[tuple[str, str], float | None] = {}
        windows = {"cumulative": (self._scored, first_ms), **dict.fromkeys(weights, (count, start))}

        def figure(name: str, metric: str, totals: Totals, rows: Answers) -> None:
            figures[name, "cumulative"] = totals.value(metric)
            for window, weight in weights.items():
                figures[name, window] = measure(metric, self._kind, rows, weight)

        for metric in dict.fromkeys((*self._metrics, *self._base_metrics)):
            figure(metric, metric, self._totals, answers)
        for base, totals, rows in zip(BASELINES, self._base_totals, bases, strict=True):
            for metric in self._base_metrics:
                figure(f"baseline.{base}.{metric}", metric, totals, rows)
        for window in windows if self._base_metrics else ():
            mine, *others = (figures[name, window] for name in (self._loss or "", *self._rivals()))
            if mine is not None and None not in others:
                best = min(other for other in others if other is not None)
                # Held between -1 and 1, also where the better one makes no mistake at all.
                figures["vs-baseline", window] = (best - mine) / max(best, mine) if max(best, mine) > 0 else 0.0
        hidden = set(self._base_metrics) - set(self._metrics)
        for (name, window), value in figures.items():
            if value is not None and name not in hidden:
                behind, began = windows[window]
                out.append(Metric(name, window, value, behind, began, at_ms))
        return out

    def _rivals(self) -> list[str]:
        return [f"baseline.{base}.{self._loss}" for base in BASELINES]

    def sliced(self, first_ms: int, at_ms: int) -> list[Metric]:
        """Return the metrics of the slices."""
        if not self._watch.slices:
            return []
        start = self._start(first_ms)
        return [
            Metric(metric, window, value, count, first_ms if window == "cumulative" else start, at_ms, part)
            for metric, window, value, count, part in self._slices.measures(
                self._recent[:, _FIXED:], Answers(*self._recent[:, 1:6].T)
            )
        ]

    def dump(self) -> tuple[dict[str, Any], bytes, bytes]:
        """Return the state: plain values, the histogram of ROCAUC, the window."""
        head = {
            "scored": self._scored,
            "totals": self._totals.state(),
            "baselines": [self._baselines.state(), *(totals.state() for totals in self._base_totals)],
            "names": self._names.names,
            "slices": self._slices.state(),
            "columns": self._watch.slices,
        }
        counts = np.zeros((2, 0)) if self._totals.histogram is None else self._totals.histogram.counts
        filled = np.flatnonzero(counts.any(axis=0))
        bins = np.vstack((filled, counts[:, filled])).astype("<i8")
        return head, bins.tobytes(), self._recent.astype("<f8").tobytes()

    def load(self, head: dict[str, Any], histogram: bytes, window: bytes) -> None:
        """Take over what ``dump`` gave, or what protocol 1 of the evaluation wrote; what is new begins now."""
        self._scored = head["scored"]
        if self._totals.histogram is not None:
            bins = np.frombuffer(histogram, dtype="<i8").reshape(3, -1)
            self._totals.histogram.counts[:, bins[0]] = bins[1:]
        rows = np.frombuffer(window, dtype="<f8")
        if "totals" not in head:
            self._load_first(head["sums"], rows.reshape(-1, 5))
            return
        self._totals.load(head["totals"])
        baselines, *totals = head["baselines"]
        self._baselines.load(baselines)
        for mine, state in zip(self._base_totals, totals, strict=True):
            mine.load(state)
        self._names.load(head["names"])
        self._slices.load(head["slices"])
        was = head["columns"]
        rows = rows.reshape(-1, _FIXED + len(was))
        self._recent = np.zeros((len(rows), self._recent.shape[1]))
        self._recent[:, :_FIXED] = rows[:, :_FIXED]
        for at, column in enumerate(self._watch.slices):
            if column in was:
                self._recent[:, _FIXED + at] = rows[:, _FIXED + was.index(column)]

    def _load_first(self, sums: dict[str, float], rows: Any) -> None:
        for metric, total in sums.items():
            if metric in self._totals.sums:
                self._totals.sums[metric] = [total, self._scored]
        if self._base_metrics:
            return  # the rows have no answers of baselines, so the window begins now
        self._recent = np.zeros((len(rows), self._recent.shape[1]))
        self._recent[:, :5] = rows
        self._recent[:, 5] = np.where(rows[:, 3] > 0.5, rows[:, 2], 1.0 - rows[:, 2])
