"""Whether events still look like those that the model knows: no label is needed for it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thalweg.udfs.logic.value_sketch import ValueSketch, kolmogorov_smirnov, outside, stability, unseen

__all__ = ["SCORE", "InputDrift", "input_measures", "summary_text"]

SCORE = "score"
"""The column that stands for the model's own answers."""

_NUMBERS = ("number", "integer")


def input_measures(name: str, kind: str) -> tuple[str, ...]:
    """Return the names of what is measured of a column.

    Examples
    --------
    >>> input_measures("amount", "number")
    ('psi(amount)', 'null-rate(amount)', 'ks(amount)', 'out-of-range(amount)')
    """
    if kind == "vector":
        return (f"null-rate({name})",)
    more = ("ks", "out-of-range") if kind in _NUMBERS else ("new-values",) if kind == "string" else ()
    return tuple(f"{measure}({name})" for measure in ("psi", "null-rate", *more))


def summary_text(kinds: Mapping[str, str], columns: Mapping[str, Any], rows: int) -> str:
    """Return a block of events in short, as text: the sketch of each column."""
    found = {name: ValueSketch.of(kind, columns[name]).state() for name, kind in kinds.items()}
    return json.dumps([rows, found], separators=(",", ":"), ensure_ascii=False)


class InputDrift:
    """Distances between the newest events and a reference, column by column.

    Time runs in periods, each ends where metrics are emitted. The reference is the first periods, until they have
    ``reference`` events, and then stays; or it is given, and only that counts. The window is the newest periods that
    together have ``window`` events, at least one. Sketches add up exactly, so it makes no difference how many workers
    made them, or how they cut the events into blocks.

    Parameters
    ----------
    kinds : mapping of str to str
        Kind of each column that is watched.
    reference, window : int
        Events.
    given : bool
        Whether the reference is given (``add_reference``).
    """

    def __init__(self, kinds: Mapping[str, str], reference: int, window: int, given: bool = False) -> None:
        self._kinds, self._least, self._most, self._given = dict(kinds), reference, window, given
        self._reference = self._empty()
        self._now = self._empty()
        self._total = self._empty()
        self._periods: deque[tuple[int, dict[str, ValueSketch]]] = deque()

    def _empty(self) -> tuple[dict[str, int], dict[str, ValueSketch]]:
        return {"rows": 0, SCORE: 0}, {name: ValueSketch() for name in self._kinds}

    def add(self, text: str) -> None:
        """Take a block of events, as ``summary_text`` gave it."""
        self._take(self._now, text)

    def add_reference(self, text: str) -> None:
        """Take a block of the reference."""
        self._take(self._reference, text)

    def _take(self, into: Any, text: str) -> None:
        rows, found = json.loads(text)
        into[0]["rows"] += rows
        for name, state in found.items():
            if name in self._kinds:
                into[1][name].add(ValueSketch.load(state))

    def add_scores(self, scores: Any) -> None:
        """Take answers; NaN where the model was not ready."""
        if SCORE in self._kinds and len(scores):
            self._now[0][SCORE] += len(scores)
            self._now[1][SCORE].add(ValueSketch.of("number", scores))

    def close(self) -> None:
        """End a period."""
        (counts, columns), size = self._now, self._size(self._now)
        if not size:
            return
        self._now = self._empty()
        mine = self._kinds if not self._given else {SCORE} & set(self._kinds)
        if mine and not self._filled():
            for name in mine:
                self._reference[1][name].add(columns[name])
            for name, count in counts.items():
                self._reference[0][name] += count if name in mine or not self._given else 0
        for name, sketch in columns.items():
            self._total[1][name].add(sketch)
        self._periods.append((size, columns))
        self._total[0]["rows"] += size
        while self._total[0]["rows"] - self._periods[0][0] >= self._most:
            gone, columns = self._periods.popleft()
            self._total[0]["rows"] -= gone
            for name, sketch in columns.items():
                self._total[1][name].add(sketch, -1)

    def _filled(self) -> bool:
        counts = self._reference[0]
        return (counts[SCORE] if self._given else max(counts.values())) >= self._least

    @staticmethod
    def _size(part: tuple[dict[str, int], dict[str, ValueSketch]]) -> int:
        return max(part[0].values())

    def measures(self) -> Iterator[tuple[str, float, int]]:
        """Yield metric, value and events of the window, of all that can be said; nothing until there is a reference."""
        if not self._filled() and not self._given:
            return
        for name, kind in self._kinds.items():
            reference, window = self._reference[1][name], self._total[1][name]
            rows = window.nulls + window.values()
            known = reference.nulls + reference.values()
            if not rows or not known or (name == SCORE and not self._filled()):
                continue
            numbers = kind in _NUMBERS
            found = {
                "psi": None if kind == "vector" else stability(reference, window, numbers),
                "null-rate": window.nulls / rows,
                "ks": kolmogorov_smirnov(reference, window) if numbers else None,
                "out-of-range": outside(reference, window) if numbers else None,
                "new-values": unseen(reference, window) if kind == "string" else None,
            }
            for measure, value in found.items():
                if value is not None:
                    yield f"{measure}({name})", value, rows

    def state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "kinds": self._kinds,
            "given": self._given,
            "reference": _state(self._reference),
            "now": _state(self._now),
            "periods": [[size, _states(columns)] for size, columns in self._periods],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave; with other columns or another reference it begins anew."""
        if state["kinds"] != self._kinds or state["given"] != self._given:
            return
        self._reference, self._now = _loaded(state["reference"]), _loaded(state["now"])
        self._total = self._empty()
        self._periods.clear()
        for size, columns in state["periods"]:
            loaded = {name: ValueSketch.load(sketch) for name, sketch in columns.items()}
            self._periods.append((size, loaded))
            self._total[0]["rows"] += size
            for name, sketch in loaded.items():
                self._total[1][name].add(sketch)


def _states(columns: Mapping[str, ValueSketch]) -> dict[str, Any]:
    return {name: sketch.state() for name, sketch in columns.items()}


def _state(part: tuple[dict[str, int], dict[str, ValueSketch]]) -> list[Any]:
    return [part[0], _states(part[1])]


def _loaded(state: Sequence[Any]) -> tuple[dict[str, int], dict[str, ValueSketch]]:
    return dict(state[0]), {name: ValueSketch.load(sketch) for name, sketch in state[1].items()}
