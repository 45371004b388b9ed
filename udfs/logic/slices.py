"""Metrics per value of a column of the events: which carrier, which country is served badly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.measures import Answers, contribution, is_mean, measure

__all__ = ["OTHER", "SliceBook", "Sliced", "TextCodes"]

OTHER = "(other)"
"""Stands for all values after the first ones."""

_LEAST = 30  # events in the window, for a slice to be the worst one


class TextCodes:
    """Numbers for texts, in the order in which they come; 0 stands for all after the first ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.names = [OTHER]
        self._codes: dict[str, int] = {}

    def codes(self, texts: Sequence[str]) -> list[int]:
        """Return the number of each text.

        Examples
        --------
        >>> TextCodes(2).codes(["UA", "AA", "UA", "DL"])
        [1, 2, 1, 0]
        """
        known = self._codes
        for text in texts:
            if text not in known and len(self.names) <= self._most:
                known[text] = len(self.names)
                self.names.append(text)
        return [known.get(text, 0) for text in texts]

    def load(self, names: list[str]) -> None:
        """Take over ``names``."""
        self.names = list(names)
        self._codes = {name: code for code, name in enumerate(names) if code}


class Sliced(NamedTuple):
    """A figure of one slice; ``slice`` as ``carrier=UA``."""

    metric: str
    window: str
    value: float
    count: int  # type: ignore[assignment]
    slice: str


class SliceBook:
    """Metrics per value of some columns.

    Over the rolling window there are all metrics of the model. Since the start there are those that are means of a
    loss. The worst slice is that with the largest mean loss in the window, among those with at least 30 events there.

    Parameters
    ----------
    columns : sequence of str
        Their names.
    metrics : sequence of str
        The model's.
    kind : str
        Kind of the truth.
    loss : str or None
        By which metric the worst slice is found.
    most : int
        How many values of a column are told apart; the rest is ``(other)``.
    """

    def __init__(
        self, columns: Sequence[str], metrics: Sequence[str], kind: str, loss: str | None, most: int = 100
    ) -> None:
        self._columns, self._metrics, self._kind, self._loss = tuple(columns), tuple(metrics), kind, loss
        self._means = [metric for metric in metrics if is_mean(metric)]
        self._values = [TextCodes(most) for _ in columns]
        # Count, then the sum of each metric, per column and value.
        self._sums = np.zeros((len(self._columns), 1 + len(self._means), most + 1))

    def codes(self, texts: Sequence[str | None]) -> Any:
        """Return the codes of rows, shape (n, columns), from the JSON array of each row's values."""
        parsed: dict[str | None, list[str]] = {None: ["(null)"] * len(self._columns)}
        for text in set(texts) - {None}:
            parsed[text] = [_told(value) for value in json.loads(text or "[]")]
        rows = [parsed[text] for text in texts]
        columns = [book.codes([row[at] for row in rows]) for at, book in enumerate(self._values)]
        return np.array(columns, dtype=np.float64).reshape(len(self._columns), len(texts)).T

    def add(self, codes: Any, answers: Answers, weight: Any) -> None:
        """Take rows; weight 1, or -1 to take a row back."""
        found = [weight]
        for name in self._means:
            found.append(weight * contribution(name, answers))
        for at, column in enumerate(codes.T.astype(np.int64)):
            for sums, values in zip(self._sums[at], found, strict=True):
                np.add.at(sums, column, values)  # in the order of rows, whatever the blocks

    def measures(self, codes: Any, answers: Answers) -> list[Sliced]:
        """Return the figures of all slices, given the rolling window."""
        out: list[Sliced] = []
        worst: Sliced | None = None
        for at, column in enumerate(self._columns):
            for code, name in enumerate(self._values[at].names):
                count, *sums = self._sums[at][:, code].tolist()
                title = f"{column}={name}"
                for metric, total in zip(self._means, sums, strict=True):
                    if count > 0:
                        value = total / count
                        value = value**0.5 if metric in ("RMSE", "RMSLE") else value
                        out.append(Sliced(metric, "cumulative", value, int(count), title))
                inside = codes[:, at] == code
                rows = int(inside.sum())
                if not rows:
                    continue
                part = Answers(*(values[inside] for values in answers))
                weight = np.ones(rows)
                for metric in self._metrics:
                    newest = measure(metric, self._kind, part, weight)
                    if newest is not None:
                        out.append(Sliced(metric, "rolling", newest, rows, title))
                if self._loss is not None and rows >= _LEAST:
                    loss = measure(self._loss, self._kind, part, weight)
                    if loss is not None and (worst is None or loss > worst.value):
                        worst = Sliced(f"worst.{self._loss}", "rolling", loss, rows, title)
        return out if worst is None else [*out, worst]

    def state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            column: {"names": book.names, "sums": dict(zip(["", *self._means], sums.tolist(), strict=True))}
            for column, book, sums in zip(self._columns, self._values, self._sums, strict=True)
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave; columns and metrics that are new begin now."""
        for at, column in enumerate(self._columns):
            old = state.get(column)
            if old is None or any(name not in old["sums"] for name in self._means):
                continue
            self._values[at].load(old["names"])
            self._sums[at] = [old["sums"][name] for name in ("", *self._means)]


def _told(value: Any) -> str:
    if value is None:
        return "(null)"
    return value if isinstance(value, str) else json.dumps(value)
