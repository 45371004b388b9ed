"""What the evaluation says beside the metrics of labels: drift of errors and inputs, expected performance, old data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.error_watch import ErrorWatch
from thalweg.udfs.logic.expected_performance import ESTIMATED, ExpectedPerformance
from thalweg.udfs.logic.input_drift import InputDrift
from thalweg.udfs.logic.old_performance import OldPerformance

__all__ = ["Attention", "Signals", "note", "old_note"]


class Attention(NamedTuple):
    """What beside the labels is watched.

    Attributes
    ----------
    inputs : tuple of (str, str)
        Columns of the events with their kinds, and ``score`` for the answers.
    reference : int
        Events with which the newest ones are compared: the first ones.
    given : bool
        Whether a table gives them instead.
    errors : bool
        Whether the errors are watched for drift.
    estimate : bool
        Whether the performance is estimated while labels are late.
    old : tuple of str
        Metrics that old examples have, too.
    """

    inputs: tuple[tuple[str, str], ...] = ()
    reference: int = 5000
    given: bool = False
    errors: bool = False
    estimate: bool = False
    old: tuple[str, ...] = ()


_INPUTS, _REFERENCE, _OLD = "i", "r", "o"


def note(reference: bool, text: str) -> str:
    """Return a block of events, as ``summary_text`` gave it, as it travels to the evaluation."""
    return (_REFERENCE if reference else _INPUTS) + text


def old_note(text: str) -> str:
    """Return the answers to old examples as they travel to the evaluation."""
    return _OLD + text


class Signals:
    """All of it for one model.

    Parameters
    ----------
    kind : str
        Of the truth: ``boolean``, ``string`` or ``number``.
    window : int
        Events in a window.
    attention : Attention
        What is watched.
    """

    def __init__(self, kind: str, window: int, attention: Attention) -> None:
        self._kind, self._window, self._attention = kind, window, attention
        self._inputs = InputDrift(dict(attention.inputs), attention.reference, window, attention.given)
        self._old = OldPerformance(attention.old, kind)
        self._errors = ErrorWatch()
        self._drifts: list[int] = []  # after how many errors, of those in the window
        estimated = attention.estimate and kind in ESTIMATED
        self._expected = ExpectedPerformance(kind, window) if estimated else None

    def take_timeless(self, texts: Sequence[str | None]) -> Any:
        """Take the notes of the reference, which has no time, and return a mask of all other rows."""
        timeless = [text is not None and text[:1] == _REFERENCE for text in texts]
        for text, is_timeless in zip(texts, timeless, strict=True):
            if text is not None and is_timeless:
                self._inputs.add_reference(text[1:])
        return ~np.array(timeless, dtype=bool)

    def take_notes(self, texts: Sequence[str | None]) -> None:
        """Take the notes on events and old examples."""
        for text in texts:
            if text is not None:
                add = self._old.take if text[:1] == _OLD else self._inputs.add
                add(text[1:])

    def take(self, served: Any, score: Any, truth: Any, right: Any) -> None:
        """Take answers as they are given (NaN: not ready), and answers that got their label, each in order."""
        self._inputs.add_scores(served)
        right = (right > 0.5) * 1.0  # it may be the place of the true class in a ranking
        if self._expected is not None:
            self._expected.add(served, score, truth if self._kind == "boolean" else right)
        if self._attention.errors and len(score):
            if self._kind == "number":
                errors = [self._errors.scaled(loss) for loss in np.square(score - truth).tolist()]
            else:
                errors = 1.0 - right
            before = self._errors.watched
            self._drifts += [before + at + 1 for at in self._errors.add_all(errors)]

    def close(self) -> None:
        """End a period: metrics are emitted."""
        self._inputs.close()
        if self._expected is not None:
            self._expected.close()

    def measures(self) -> list[tuple[str, str, float, int]]:
        """Return metric, window, value and count of all that can be said."""
        out = [(name, "rolling", value, count) for name, value, count in self._inputs.measures()]
        if self._expected is not None:
            out += [(name, "rolling", value, count) for name, value, count in self._expected.measures()]
        out += self._old.measures()
        watched = self._errors.watched
        if watched:
            self._drifts = [at for at in self._drifts if at > watched - self._window]
            out.append(("drift", "cumulative", float(self._errors.drifts), watched))
            out.append(("drift", "rolling", float(len(self._drifts)), min(watched, self._window)))
        return out

    def state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "inputs": self._inputs.state(),
            "errors": self._errors.state().hex(),
            "drifts": self._drifts,
            "old": self._old.state(),
            "expected": None if self._expected is None else self._expected.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave."""
        self._inputs.load(state["inputs"])
        self._errors = ErrorWatch.load(bytes.fromhex(state["errors"]))
        self._drifts = list(state["drifts"])
        self._old.load(state["old"])
        if self._expected is not None and state["expected"] is not None:
            self._expected.load(state["expected"])
